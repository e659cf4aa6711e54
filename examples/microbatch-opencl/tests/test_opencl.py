"""The backend on a real OpenCL device: the suite, a forgotten dependency, memory, and the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl
import pytest
from microbatch_opencl import probe
from microbatch_opencl.backend import OpenClBackend, default_context

from microbatch import FailureKind, UBatchWrapper
from microbatch.testing import BackendSuite

HERE = Path(__file__).parent.parent
ADD = "__kernel void add(__global T *a, ulong first) { a[first + get_global_id(0)] += 1; }"
PROGRAMS = {
    "f": cl.Program(default_context(), ADD).build(["-DT=float"]),
    "i": cl.Program(default_context(), ADD).build(["-DT=int"]),
}


def upload(backend: OpenClBackend, values: np.ndarray) -> Any:
    """A device array, written by pyopencl alone and complete on return."""
    array = backend.empty_device(values.shape, values)
    if values.size:
        cl.enqueue_copy(cl.CommandQueue(backend.context), array.buffer, np.ascontiguousarray(values))
    return array


def read(array: Any) -> np.ndarray:
    """Its values, read by pyopencl alone."""
    values = np.empty(array.shape, array.dtype)
    if values.size:
        cl.enqueue_copy(cl.CommandQueue(array.buffer.context), values, array.buffer, src_offset=array.offset)
    return values


class TestOpenCl(BackendSuite):
    registered_name = "opencl"
    frameworks = ("pyopencl",)

    def make_backend(self) -> Any:
        return OpenClBackend()

    def make_array(self, backend: Any, values: np.ndarray) -> Any:
        return upload(backend, values)

    def to_numpy(self, array: Any) -> np.ndarray:
        return read(array)

    def add_one(self, array: Any) -> None:
        if array.size:
            kernel = cl.Kernel(PROGRAMS[array.dtype.kind], "add")
            kernel(array.current().queue, (array.size,), None, array.buffer, array.first)

    def failures(self) -> Iterable[tuple[BaseException, FailureKind]]:
        with pytest.raises(cl.Error) as refused:
            cl.Buffer(default_context(), cl.mem_flags.READ_WRITE, 1 << 62)
        return (*super().failures(), (refused.value, FailureKind.SIZE))


@pytest.mark.parametrize("ordered", [True, False])
def test_a_forgotten_wait_gives_a_wrong_value_every_time(ordered: bool) -> None:
    backend = OpenClBackend()
    suite = TestOpenCl()
    array = upload(backend, np.zeros(64, "f4"))
    copy_in, compute, event = backend.stream("copy_in"), backend.stream("compute"), backend.event()
    gate = cl.UserEvent(backend.context)
    try:
        cl.enqueue_barrier(copy_in.queue, wait_for=[gate])
        copy_in.submit(lambda: backend.to_device(array, np.full(64, 5, "f4")))
        event.record(copy_in)
        assert not event.done()
        assert not event.synchronize(0)
        if ordered:
            compute.wait(event)
        compute.submit(lambda: suite.add_one(array))
        assert compute.synchronize(0 if ordered else 30) is not ordered
    finally:
        gate.set_status(cl.command_execution_status.COMPLETE)
    assert copy_in.synchronize(30)
    assert compute.synchronize(30)
    assert (read(array) == (6 if ordered else 5)).all()


def test_memory_is_counted_and_the_capacity_kept() -> None:
    backend = OpenClBackend(capacity=1000)
    array = backend.empty_device((100,), np.empty(0, "f4"))
    assert backend.memory().in_use == 400
    with pytest.raises(MemoryError, match="smaller parts"):
        backend.empty_device((200,), array)
    view = array[10:]
    del array
    assert backend.memory().in_use == 400
    del view
    assert (backend.memory().in_use, backend.memory().peak) == (0, 400)


def test_the_probe_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe() is None
    monkeypatch.setattr("microbatch_opencl.find_spec", lambda name: name == "pyopencl" or None)
    assert "no OpenCL driver" in (probe({"OCL_ICD_VENDORS": str(tmp_path)}) or "")
    (tmp_path / "pocl.icd").write_text("libpocl.so")
    assert probe({"OCL_ICD_VENDORS": str(tmp_path)}) is None
    monkeypatch.setattr("microbatch_opencl.find_spec", lambda name: None)
    assert probe() == "pyopencl is not installed"


def test_a_wrapper_cuts_device_arrays() -> None:
    backend, suite = OpenClBackend(), TestOpenCl()
    values = np.arange(40, dtype="f4").reshape(10, 4)

    def work(rows: Any) -> Any:
        result = backend.empty(rows.shape, rows)
        backend.copy(result, rows)
        suite.add_one(result)
        return result

    with UBatchWrapper(work, backend="opencl", num_ubatches=3, policy="fixed") as wrapper:
        result = wrapper(upload(backend, values))
        backend.current_stream().synchronize()
    np.testing.assert_array_equal(read(result), values + 1)


@pytest.mark.parametrize("schedule", ["sequential", "streamed"])
def test_the_command_line_runs_a_kernel_over_a_file(tmp_path: Path, schedule: str) -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 8)).astype("f4")
    np.save(tmp_path / "x.npy", rows)
    command = [sys.executable, "-m", "microbatch", "run", f"{HERE / 'kernels.py'}:softplus", "--quiet"]
    command += ["--backend", "opencl", "--schedule", schedule, "--max-tokens", "64", "--policy", "tokens"]
    command += ["--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npy")]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), np.logaddexp(0, rows), rtol=1e-5, atol=1e-6)


def test_the_plugin_is_listed() -> None:
    command = [sys.executable, "-m", "microbatch", "plugins", "--json"]
    listed = json.loads(subprocess.run(command, capture_output=True, timeout=120, check=True).stdout)
    line = next(line for line in listed if line["name"] == "opencl")
    assert (line["distribution"], line["available"]) == ("microbatch-opencl", True)


def test_the_readme_runs_as_written(tmp_path: Path) -> None:
    shutil.copy(HERE / "kernels.py", tmp_path)
    blocks = re.findall(r"^```sh\n(.*?)^```", (HERE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    for line in blocks[1].splitlines():
        program, *words = shlex.split(line)
        command = [sys.executable, *(["-m", "microbatch"] if program == "microbatch" else []), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), np.log1p(np.exp(1)), rtol=1e-5)
