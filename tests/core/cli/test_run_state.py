"""What was noted of a run is there for the other process, and what is said of its end follows from that."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.cli.endings import died, fate, interrupted, remove_parts
from microbatch.cli.run_state import RunState
from microbatch.files.source import Source
from microbatch.files.whole_file import WholeFile

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
text = st.text(st.characters(), max_size=200)  # half characters too: names of files may be any bytes


@given(notes=st.lists(text, max_size=20), rows=st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)))
def test_notes_come_back(notes: list[str], rows: tuple[int, int]) -> None:
    """The last one counts."""
    state = RunState()
    state.progress(*rows)
    for note in notes:
        state.doing(note)
    assert state.last("doing") == notes[-1:]
    assert state.last("loses") == []
    assert state.rows == rows


def test_notes_that_find_no_room_are_left_out() -> None:
    """Those before them stay."""
    state = RunState()
    state.loses("an answer")
    for _ in range(100):
        state.doing("x" * 5000)
    assert state.last("loses") == ["an answer"]
    assert state.last("doing") == ["x" * 5000]


def test_the_end_is_told_once() -> None:
    """By whoever is first."""
    state = RunState()
    assert state.tell()
    assert not state.tell()
    assert state.finished is None
    state.finish(300)
    assert state.finished == 300 % 256


def test_the_fate_of_a_file_is_read_from_the_disk(tmp_path: Path) -> None:
    """Before, after, and once another file has taken its place."""
    state = RunState()
    path = tmp_path / "a.txt"
    assert fate(state) == "nothing was written"
    with WholeFile(path, (".txt",)) as file:
        state.writes(file)
        state.progress(1000, 2000)
        assert fate(state) == f"nothing was written to {path}"
        assert interrupted(state) == (f"interrupted after 1,000 of 2,000 rows; nothing was written to {path}")
        file.write(b"new")
    assert fate(state) == f"{path} is complete"
    remove_parts(state)
    assert path.read_bytes() == b"new"
    (tmp_path / "b").write_bytes(b"another")
    os.replace(tmp_path / "b", path)
    assert fate(state) == f"nothing was written to {path}"


def test_part_files_are_removed(tmp_path: Path) -> None:
    """Those of a process that is gone, which cannot do it."""
    state = RunState()
    file = WholeFile(tmp_path / "a.txt", (".txt",))
    state.writes(file)
    remove_parts(state)
    remove_parts(state)
    assert os.listdir(tmp_path) == []
    file.discard()


@posix
@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, "was killed (SIGKILL) while starting, most often because memory ran out;"),
        (signal.SIGSEGV, "crashed in compiled code (SIGSEGV) while starting; nothing was written"),
        (signal.SIGABRT, "crashed in compiled code (SIGABRT) while starting; nothing was written"),
        (signal.SIGFPE, "crashed in compiled code (SIGFPE) while starting; nothing was written"),
        (signal.SIGBUS, "could not read or write a mapped file (SIGBUS) while starting; nothing was written"),
        (signal.SIGXCPU, "was ended by SIGXCPU while starting; nothing was written"),
    ],
)
def test_what_ended_it(number: signal.Signals, said: str) -> None:
    """In words, with the number that shells have for it."""
    line, code = died(RunState(), number)
    assert line.startswith(f"error: the process {said}")
    assert code == 128 + number


@posix
def test_a_fault_of_the_disk_is_no_change_of_the_input(tmp_path: Path) -> None:
    """The same signal, and the file is as long as it was; or nobody can say."""
    path = tmp_path / "x.npy"
    np.save(path, np.arange(9.0))
    state = RunState()
    state.reads(Source(path))
    assert "check the disks" in died(state, signal.SIGBUS)[0]
    os.truncate(path, 9)
    cut = f"{path} was cut short while it was read: it had 200 bytes and has 9"
    told = f"error: {cut}; run again when nobody writes to it; nothing was written"
    assert died(state, signal.SIGBUS) == (told, 4)
    path.unlink()
    assert "check the disks" in died(state, signal.SIGBUS)[0]
