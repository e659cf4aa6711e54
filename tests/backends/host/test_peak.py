"""Marks of memory: none tells less than was used since it was made."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from microbatch.extend.abilities import SupportsPeak
from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.host.peak import HostPeak, PeakMeter
from tests.support.threads import switching_often

MIB = 1 << 20


def status(root: Path, resident: int, highest: int) -> None:
    folder = root / "proc/self"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text(f"VmRSS:\t{resident} kB\nVmHWM:\t{highest} kB\n")
    if not (folder / "clear_refs").exists():
        (folder / "clear_refs").touch()


def test_an_earlier_mark_keeps_what_a_later_one_makes_the_kernel_forget(tmp_path: Path) -> None:
    status(tmp_path, 100, 100)
    meter = PeakMeter(tmp_path)
    first = meter.mark()
    status(tmp_path, 100, 700)
    second = meter.mark()
    status(tmp_path, 100, 300)  # the kernel started again
    assert first is not None and second is not None
    assert (second.in_use, second.peak()) == (100 * 1024, 300 * 1024)
    assert first.peak() == 700 * 1024
    assert meter.highest == 700 * 1024
    assert (tmp_path / "proc/self/clear_refs").read_text() == "5"


def test_without_proc_there_is_no_mark(tmp_path: Path) -> None:
    assert PeakMeter(tmp_path).mark() is None


def test_a_reading_remembers_the_peak_that_was_forgotten(tmp_path: Path) -> None:
    status(tmp_path, 100, 900)
    memory = HostMemory(tmp_path, fresh=0.0, limits=dict)
    memory.peak_mark()
    status(tmp_path, 100, 100)
    assert memory.read().peak == 900 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_the_peak_of_this_process() -> None:
    backend = CpuBackend()
    assert isinstance(backend, SupportsPeak)
    mark = backend.peak_mark()
    assert mark is not None
    np.ones(64 * MIB, np.uint8).sum()
    assert 60 * MIB < mark.peak() - mark.in_use < 96 * MIB
    later = backend.peak_mark()
    assert later is not None
    assert later.peak() - later.in_use < 32 * MIB
    assert mark.peak() - mark.in_use > 60 * MIB


def test_a_mark_that_is_dropped_is_told_nothing_more(tmp_path: Path) -> None:
    status(tmp_path, 100, 100)
    meter = PeakMeter(tmp_path)
    kept, dropped = meter.mark(), meter.mark()
    assert kept is not None and dropped is not None
    del dropped
    gc.collect()
    assert len(meter._open) == 1
    status(tmp_path, 100, 400)
    assert kept.peak() == 400 * 1024


def test_marks_of_several_threads_are_all_told(tmp_path: Path) -> None:
    status(tmp_path, 100, 100)
    meter = PeakMeter(tmp_path)
    marks: list[HostPeak | None] = []

    def work() -> None:
        for _ in range(25):
            marks.append(meter.mark())

    with switching_often():
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    status(tmp_path, 100, 500)
    meter.status()
    assert [mark.highest for mark in marks if mark is not None] == [500 * 1024] * 100


KEPT = """
import numpy as np
from microbatch_backends.host.peak import PeakMeter

meter = PeakMeter()
def blocks(): return [np.ones(8_000) for _ in range(1_000)]  # 64 KB each, of the heap and not by themselves
kept = blocks()
last = np.ones(8_000)  # what is free below it stays with the allocator
del kept
mark = meter.mark()
again = blocks()
print(None if mark is None else mark.peak() - mark.in_use)
"""


def test_what_the_allocator_has_kept_hides_nothing() -> None:
    """Work that finds its memory there is seen to need it all the same."""
    done = subprocess.run([sys.executable, "-c", KEPT], check=True, capture_output=True, text=True)
    if done.stdout.strip() == "None" or not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this system has no high-water mark, or another allocator")
    assert int(done.stdout) > 1_000 * 60_000
