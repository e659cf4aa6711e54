"""The `cpu` backend keeps the protocols it claims, and nothing more."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from microbatch.errors import WaitTimeoutError
from microbatch.extend.abilities import SupportsGraphs, SupportsLanes, SupportsTransfer
from microbatch.extend.protocols import Backend, Event, Stream, ThreadState
from microbatch.extend.records import FailureKind
from microbatch_backends.host.backend import CpuBackend


@pytest.fixture
def backend() -> CpuBackend:
    return CpuBackend()


def test_protocols(backend: CpuBackend) -> None:
    assert isinstance(backend, Backend) and isinstance(backend, SupportsTransfer)
    assert not isinstance(backend, SupportsGraphs | SupportsLanes)
    assert isinstance(backend.stream("compute"), Stream) and isinstance(backend.current_stream(), Stream)
    assert isinstance(backend.event(), Event) and isinstance(backend.thread_state(), ThreadState)


def test_numpy_records_nothing(backend: CpuBackend) -> None:
    assert not backend.differentiable([np.zeros(3)])


def test_failures_are_classified(backend: CpuBackend) -> None:
    assert backend.classify(MemoryError()) is FailureKind.OOM
    assert backend.classify(ValueError("own")) is FailureKind.OTHER


def test_a_reading_of_this_process(backend: CpuBackend) -> None:
    reading = backend.memory()
    assert reading is backend.memory() or reading.capacity == backend.memory().capacity
    backend.reclaim()


def test_limits_nest(backend: CpuBackend) -> None:
    with backend.parallel_limits(2), backend.worker_limits(2), backend.parallel_limits(2):
        pass


def test_close_says_which_stream_still_works(backend: CpuBackend) -> None:
    gate = threading.Event()
    backend.stream("copy_in").submit(lambda: gate.wait(20))
    with pytest.raises(WaitTimeoutError, match="copy_in was still running"):
        backend.close(0.01)
    gate.set()
    backend.close(20)
    assert not [thread for thread in threading.enumerate() if thread.name == "microbatch-copy_in"]
