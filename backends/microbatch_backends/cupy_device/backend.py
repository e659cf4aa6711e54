"""CuPy arrays on NVIDIA devices: streams, events, pools, pinned copies and graphs.

Invariant: a step is ordered by streams and events alone. CuPy has no `record_stream`, so a step keeps every array until
an event after its last use has been waited for; results come from the memory of the stream that is current when they
are asked for (the caller's).
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from microbatch.extend.abilities import Graph
from microbatch.extend.lanes import LanePool, Pair
from microbatch.extend.protocols import StreamPurpose, ThreadState
from microbatch.extend.records import FailureKind, MemoryReading
from microbatch_backends.cupy_device import graphs, transfer
from microbatch_backends.cupy_device.arrays import CupyArrays
from microbatch_backends.cupy_device.memory import CupyMemory
from microbatch_backends.cupy_device.namespace import CupyNamespace, load_cupy
from microbatch_backends.cupy_device.state import CupyState
from microbatch_backends.cupy_device.streams import CupyEvent, CupyStream
from microbatch_backends.failures.classify import classify

__all__ = ["CupyBackend"]

URGENT = -1
"""Priority of communication and copies: they are short, and what waits for them is not."""


class CupyBackend:
    """The `cupy` backend. `namespace` stands in for the `cupy` module in tests."""

    name: str = "cupy"
    asynchronous: bool = True
    parallel: bool = False
    captures_threads: bool = False

    def __init__(self, namespace: Any = None) -> None:
        self._namespace = CupyNamespace(load_cupy() if namespace is None else namespace)
        self._arrays = CupyArrays(self._namespace)
        self._memory = CupyMemory(self._namespace)
        self._streams: dict[tuple[int, str, int], CupyStream] = {}
        self._lanes = LanePool(self._lane)
        self._integrated: dict[int, bool] = {}
        self._lock = threading.Lock()

    def stream(self, purpose: StreamPurpose) -> CupyStream:
        """The stream for `purpose` on the current device; all but `compute` are urgent."""
        return self.priority_stream(purpose, 0 if purpose == "compute" else URGENT)

    def priority_stream(self, purpose: StreamPurpose, priority: int) -> CupyStream:
        """The stream for `purpose` and `priority`; lower numbers are more urgent. In a capture, one of its own."""
        inside = self._inside()
        if inside is not None:
            return inside.of(purpose, priority)
        index = self._namespace.index()
        key = (index, purpose, priority)
        with self._lock:
            found = self._streams.get(key)
            if found is None:
                found = CupyStream(self._namespace, self._namespace.new_stream(priority), index, purpose)
                self._streams[key] = found
        return found

    def lanes(self, count: int) -> AbstractContextManager[Sequence[Pair]]:
        """Pairs of streams for the ubatches of one step; in a capture, its own."""
        inside = self._inside()
        if inside is not None:
            return nullcontext(inside.pairs(count, URGENT))
        return self._lanes.lend(count, self._namespace.index())

    def current_stream(self) -> CupyStream:
        """The stream the calling thread launches on."""
        namespace = self._namespace
        return CupyStream(namespace, namespace.current_stream(), namespace.index(), "compute")

    def event(self) -> CupyEvent:
        """A new event without timing."""
        return CupyEvent(self._namespace)

    def memory(self) -> MemoryReading:
        """Memory of the current device within the pool's limit; at most 10 ms old."""
        return self._memory.read()

    def device_name(self) -> str:
        """What the vendor calls the current device."""
        return self._namespace.device_name(self._namespace.index())

    def may_probe(self) -> bool:
        """Whether running out of memory raises and harms nothing: on devices with memory of their own."""
        index = self._namespace.index()
        if index not in self._integrated:
            self._integrated[index] = self._namespace.integrated(index)
        return not self._integrated[index]

    def owns(self, array: object) -> bool:
        """Whether `array` is a CuPy array."""
        return isinstance(array, self._namespace.ndarray)

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised array with the dtype and axis order of `like`."""
        return self._arrays.empty(shape, like)

    def copy(self, destination: Any, source: Any) -> None:
        """Write `source` into `destination`, on the current stream."""
        self._arrays.copy(destination, source)

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        """Join `parts` along `axis`."""
        return self._arrays.concatenate(parts, axis)

    def take(self, array: Any, indices: Sequence[int], axis: int) -> Any:
        """Rows at `indices` along `axis`, as a new array."""
        return self._arrays.take(array, indices, axis)

    def scatter(self, destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
        """Write rows of `source` to `destination` at `indices` along `axis`."""
        self._arrays.scatter(destination, indices, source, axis)

    def differentiable(self, arrays: Sequence[Any]) -> bool:
        """Never: CuPy has no autograd."""
        return False

    def unsupported(self, array: Any) -> str | None:
        """Why rows of `array` cannot be cut (sparse), or None."""
        return self._arrays.unsupported(array)

    def classify(self, error: BaseException) -> FailureKind:
        """What `error` and its chain mean for retrying."""
        return classify(error)

    def reclaim(self) -> None:
        """Wait for our streams and the current one, collect garbage, empty the pool into the driver."""
        with self._lock:
            streams = list(self._streams.values())
        for stream in [*streams, self.current_stream()]:
            stream.synchronize()
        gc.collect()
        pool = self._namespace.pool()
        if pool is not None:
            pool.free_all_blocks()

    def thread_state(self) -> ThreadState:
        """Context variables, and the device, stream and allocator of this thread."""
        return CupyState(self._namespace)

    def parallel_limits(self, workers: int) -> AbstractContextManager[None]:
        """Nothing: the device computes."""
        return nullcontext()

    def worker_limits(self, workers: int) -> AbstractContextManager[None]:
        """Nothing: the device computes."""
        return nullcontext()

    def staging(self, shape: Sequence[int], like: Any) -> Any:
        """A pinned NumPy buffer with the dtype of `like`."""
        return transfer.staging(self._namespace, shape, like)

    def to_device(self, destination: Any, source: Any) -> None:
        """Copy host to device on the current stream; asynchronous when `source` is pinned."""
        transfer.to_device(self._namespace, destination, source)

    def to_host(self, destination: Any, source: Any) -> None:
        """Copy device to host on the current stream; asynchronous when `destination` is pinned."""
        transfer.to_host(self._namespace, destination, source)

    def empty_device(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised device array with the dtype of `like`."""
        return self._namespace.cupy.empty(tuple(shape), dtype=like.dtype)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A named range for NVIDIA's profilers."""
        nvtx = self._namespace.cuda.nvtx
        nvtx.RangePush(name)
        try:
            yield
        finally:
            nvtx.RangePop()

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[Graph, Any]:
        """Capture `work`, which runs once before; the graph has a pool of its own whatever `pool` is."""
        return graphs.capture(self._namespace, work)

    def graph_pool(self) -> object | None:
        """None: a CuPy graph cannot share its memory."""
        return None

    def capture_refused(self, error: BaseException) -> bool:
        """Whether `error` says that the work cannot be captured (a matrix product cannot)."""
        return graphs.capture_refused(error)

    def _inside(self) -> graphs.Lanes | None:
        """The capture that the calling code is part of."""
        lanes = graphs.LANES.get()
        return lanes if lanes is not None and lanes.namespace is self._namespace else None

    def _lane(self, purpose: StreamPurpose) -> CupyStream:
        """A stream that is nobody else's."""
        namespace = self._namespace
        raw = namespace.new_stream(0 if purpose == "compute" else URGENT)
        return CupyStream(namespace, raw, namespace.index(), purpose)
