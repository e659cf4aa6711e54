"""A device module that computes nothing and finishes work only when told, in the form of `torch.cuda`."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


class FakeStream:
    """Work is counted; `finished` of it is done."""

    def __init__(self, cuda: FakeCuda, priority: int = 0, device: int = 0) -> None:
        self.cuda, self.priority, self.device = cuda, priority, device
        self.launched: list[str] = []
        self.finished = 0

    def wait_event(self, event: FakeEvent) -> None:
        self.launched.append(f"wait {event.mark}")

    def wait_stream(self, stream: FakeStream) -> None:
        self.launched.append(f"wait stream {len(stream.launched)}")

    def synchronize(self) -> None:
        self.cuda.calls.append("stream.synchronize")
        self.finished = len(self.launched)


class FakeEvent:
    """Remembers how much was launched when it was recorded."""

    def __init__(self, cuda: FakeCuda, enable_timing: bool = False) -> None:
        self.cuda = cuda
        self.timed = enable_timing
        self.stream: FakeStream | None = None
        self.mark = 0

    def record(self, stream: FakeStream) -> None:
        self.stream, self.mark = stream, len(stream.launched)

    def elapsed_time(self, later: FakeEvent) -> float:
        assert self.timed and later.timed
        return float(later.mark - self.mark)

    def query(self) -> bool:
        self.cuda.calls.append("event.query")
        return self.stream is None or self.stream.finished >= self.mark

    def synchronize(self) -> None:
        self.cuda.calls.append("event.synchronize")
        if self.stream is not None:
            self.stream.finished = max(self.stream.finished, self.mark)


class FakeGraph:
    """Notes what is asked; as in torch, a capture whose end fails leaves pool and generator recording."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.capturing = False
        self.fail_end = False

    def capture_begin(self, **options: Any) -> None:
        self.cuda.calls.append(f"begin {options}")
        self.pool = options.get("pool")
        assert self.pool is None or self.pool not in self.cuda.recording, "already recording to mempool_id"
        self.cuda.recording.append(self.pool)
        self.cuda.draws_for_a_graph = True
        self.capturing = True
        self.fail_end, self.cuda.broken_end = self.cuda.broken_end, False

    def capture_end(self) -> None:
        self.cuda.calls.append("end")
        self.capturing = False
        if self.fail_end:
            raise RuntimeError("operation failed due to a previous error during capture")
        self.cuda.recording.remove(self.pool)
        self.cuda.draws_for_a_graph = False
        if self.cuda.empty_graph:
            warnings.warn("The CUDA Graph is empty.", UserWarning, stacklevel=2)

    def replay(self) -> None:
        self.cuda.calls.append("replay")


class FakeCuda:
    """The functions of `torch.cuda` that the seam uses; `current` is per thread, as in torch."""

    def __init__(self, devices: int = 2) -> None:
        self.calls: list[str] = []
        self.broken_end = False
        self.empty_graph = False
        self.recording: list[Any] = []
        self.draws_for_a_graph = False
        self.pools = itertools.count(1)
        self.defaults = [FakeStream(self, device=index) for index in range(devices)]
        self.local = threading.local()
        self.free, self.total = 600, 1000
        self.stats: dict[str, int] = {}
        self.backend = "native"
        self.limit = 1.0
        self.shared_with_host = False

    def _here(self) -> Any:
        if not hasattr(self.local, "index"):
            self.local.index, self.local.streams = 0, list(self.defaults)
        return self.local

    def Stream(self, priority: int = 0) -> FakeStream:
        return FakeStream(self, priority, self._here().index)

    def Event(self, enable_timing: bool = False) -> FakeEvent:
        return FakeEvent(self, enable_timing)

    def current_stream(self, index: int | None = None) -> FakeStream:
        here = self._here()
        return here.streams[here.index if index is None else index]

    def set_stream(self, stream: FakeStream) -> None:
        here = self._here()
        here.index = stream.device
        here.streams[stream.device] = stream

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        here = self._here()
        before = here.index, here.streams[stream.device]
        self.set_stream(stream)
        try:
            yield
        finally:
            here.streams[stream.device] = before[1]
            here.index = before[0]

    @contextmanager
    def device(self, index: int) -> Iterator[None]:
        before = self._here().index
        self.set_device(index)
        try:
            yield
        finally:
            self.set_device(before)

    def current_device(self) -> int:
        return self._here().index

    def set_device(self, index: int) -> None:
        self._here().index = index

    def launch(self, label: str) -> None:
        self.current_stream().launched.append(label)

    def mem_get_info(self, index: int) -> tuple[int, int]:
        return self.free, self.total

    def memory_stats(self, index: int) -> dict[str, int]:
        return self.stats

    def get_allocator_backend(self) -> str:
        return self.backend

    def get_per_process_memory_fraction(self, index: int) -> float:
        return self.limit

    def get_device_properties(self, index: int) -> Any:
        return SimpleNamespace(is_integrated=self.shared_with_host, name=f"Fake {index}")

    def current_blas_handle(self) -> int:
        self.calls.append("blas")
        return 1

    def empty_cache(self) -> None:
        self.calls.append("empty_cache")

    def CUDAGraph(self) -> FakeGraph:
        return FakeGraph(self)

    def graph_pool_handle(self) -> tuple[int, int]:
        return (0, next(self.pools))

    def synchronize(self) -> None:
        raise AssertionError("nothing may wait for the whole device")

    def reset_peak_memory_stats(self) -> None:
        raise AssertionError("the user's peak must not be reset")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A fresh fake with two devices; what the seam asks of torch itself is asked of the fake."""
    made = FakeCuda()
    seam = "microbatch_backends.torch_device.device_module.DeviceModule"
    monkeypatch.setattr(f"{seam}.scratch", lambda self: torch.empty(1))
    monkeypatch.setattr(f"{seam}.end_allocation", lambda self, index, pool: made.recording.remove(pool))
    return made
