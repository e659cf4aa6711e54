"""The `Backend` of a simulated device; what core and suites talk to.

Invariant: as asynchronous as the real thing: nothing here waits except what the protocol says waits. Host
arrays are served too (`empty`, `copy`, `take` of plain NumPy arrays compute on the host), since a step may
gather there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Token, copy_context
from functools import partial
from typing import Any

import numpy as np

from microbatch.extend.lanes import LanePool, Pair
from microbatch.extend.protocols import StreamPurpose
from microbatch.extend.records import FailureKind, MemoryReading
from microbatch.testing.recording.trace import Trace
from microbatch.testing.simulated.array import DeviceArray
from microbatch.testing.simulated.block_view import BlockView, StagingArray, launch
from microbatch.testing.simulated.capture import CaptureRefusedError
from microbatch.testing.simulated.device import SimulatedDevice
from microbatch.testing.simulated.executor import Executor
from microbatch.testing.simulated.graphs import SimulatedGraph, capture_graph
from microbatch.testing.simulated.launching import put
from microbatch.testing.simulated.memory import DeviceMemory, MemoryModel
from microbatch.testing.simulated.streams import SimulatedEvent, SimulatedStream
from microbatch.turns.context import PLACE


class SimulatedBackend:
    """Base of the recording and the adversarial backend."""

    name: str = "simulated"
    asynchronous: bool = True
    parallel: bool = False
    captures_threads: bool = True

    def __init__(
        self,
        executor: Executor,
        model: MemoryModel | None = None,
        trace: Trace | None = None,
        *,
        lazy: bool = False,
    ) -> None:
        memory = DeviceMemory(model or MemoryModel(), "block")
        self.device = SimulatedDevice(self.name, executor, memory, trace, lazy=lazy)
        self._lanes = LanePool(self.device.lane)
        self._pinned = DeviceMemory(MemoryModel(caching=False), "staging")

    def array(self, values: Any, dtype: Any = None) -> DeviceArray:
        """A device copy of host values, uploaded on the current stream."""
        host = np.array(values, dtype=dtype)
        made = DeviceArray.empty(self.device, host.shape, host.dtype)
        put(made, host)
        return made

    def stream(self, purpose: StreamPurpose) -> SimulatedStream:
        """The stream for `purpose`."""
        return self.device.stream(purpose)

    def lanes(self, count: int) -> AbstractContextManager[Sequence[Pair]]:
        """Pairs of streams for the ubatches of one step; in a capture, its own."""
        inside = self.device.inside()
        if inside is None:
            return self._lanes.lend(count)
        name = self.device.named
        names = [f"{number} of {inside}" for number in range(count)]
        return nullcontext([(name(f"compute {lane}"), name(f"communication {lane}")) for lane in names])

    def current_stream(self) -> SimulatedStream:
        """The stream that is active in the calling thread; the device's default stream where none is."""
        return self.device.current()

    def event(self) -> SimulatedEvent:
        """A new event."""
        return self.device.event()

    def memory(self) -> MemoryReading:
        """Bytes in use and left; cached blocks are not usable before `reclaim`."""
        return self.device.memory.reading()

    def may_probe(self) -> bool:
        """Always: an array that does not fit raises, and nothing else happens."""
        return True

    def owns(self, array: object) -> bool:
        """Whether `array` is on this very device."""
        return isinstance(array, DeviceArray) and array.owner is self.device

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """An array of poison, on the device or the host like `like`."""
        if isinstance(like, DeviceArray):
            return self.empty_device(shape, like)
        return np.empty(tuple(shape), like.dtype)

    def copy(self, destination: Any, source: Any) -> None:
        """Write `source` into `destination`, wherever either is."""
        if isinstance(destination, DeviceArray) and isinstance(source, DeviceArray):
            destination[...] = source
        elif isinstance(destination, DeviceArray):
            self.to_device(destination, source)
        elif isinstance(source, DeviceArray):
            self.to_host(destination, source)
        elif isinstance(destination, StagingArray):
            destination[...] = np.asarray(source)
        else:
            np.copyto(destination, np.asarray(source), casting="equiv")

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        """Join `parts` along `axis`."""
        return np.concatenate(list(parts), axis)

    def take(self, array: Any, indices: Sequence[int], axis: int) -> Any:
        """Rows of `array` at `indices`, as a new array."""
        return np.take(array, np.asarray(indices, dtype=np.intp), axis)

    def scatter(self, destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
        """Write rows of `source` to `destination` at `indices`."""
        rows = np.asarray(indices, dtype=np.intp)
        destination[(*[slice(None)] * axis, rows)] = source

    def differentiable(self, arrays: Sequence[Any]) -> bool:
        """Never: nothing records gradients."""
        return False

    def unsupported(self, array: Any) -> str | None:
        """Why rows of `array` cannot be cut, or None."""
        if getattr(array, "dtype", None) == np.dtype(object):
            return "it holds Python objects, which a device cannot; convert it to numbers"
        return None

    def classify(self, error: BaseException) -> FailureKind:
        """OOM for a MemoryError in the chain, OTHER else."""
        seen: set[int] = set()
        waiting: list[BaseException | None] = [error]
        while waiting:
            member = waiting.pop()
            if member is None or id(member) in seen:
                continue
            if isinstance(member, MemoryError):
                return FailureKind.OOM
            seen.add(id(member))
            waiting += [member.__cause__, member.__context__]
        return FailureKind.OTHER

    def reclaim(self) -> None:
        """Finish all work and empty the pools."""
        self.device.finish_all()
        self.device.memory.empty_cache()

    def thread_state(self) -> SimulatedState:
        """Context variables and the current stream of the calling thread."""
        return SimulatedState(self.device)

    def parallel_limits(self, workers: int) -> AbstractContextManager[None]:
        """Nothing."""
        return nullcontext()

    worker_limits = parallel_limits

    def staging(self, shape: Sequence[int], like: Any) -> StagingArray:
        """A host buffer of poison."""
        return StagingArray.made(shape, like.dtype, partial(self._pinned.allocate, owner=None), self.device)

    def to_device(self, destination: Any, source: Any) -> None:
        """Copy on the current stream. A plain host array is read now, a staging buffer when the copy runs."""
        if isinstance(source, StagingArray):
            self._queue_copy(destination, source.view, (source,), "copy to device")
        else:
            self._queue_copy(destination, np.array(source), (), "copy to device")

    def to_host(self, destination: Any, source: Any) -> None:
        """Copy on the current stream; into a plain host array the host waits, into staging it does not."""
        if isinstance(destination, StagingArray):
            self._queue_copy(destination, source.view, (source,), "copy to host")
        else:
            np.copyto(destination, source.fetch(), casting="equiv")

    def _queue_copy(
        self, destination: BlockView, data: np.ndarray, reads: Sequence[BlockView], label: str
    ) -> None:
        target = destination.view
        launch(self.device, lambda: np.copyto(target, data, casting="equiv"), reads, (destination,), label)

    def empty_device(self, shape: Sequence[int], like: Any) -> DeviceArray:
        """A device array of poison for host data like `like`."""
        return DeviceArray.empty(self.device, shape, like.dtype)

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[SimulatedGraph, Any]:
        """Run `work` once, then collect what it launches; nothing of that runs before `replay`."""
        return capture_graph(self.device, work, object() if pool is None else pool)

    def graph_pool(self) -> object:
        """A pool that graphs may share, if they are never replayed at the same time."""
        return object()

    def capture_refused(self, error: BaseException) -> bool:
        """Whether `error` says that the work cannot be captured."""
        return isinstance(error, CaptureRefusedError)


class SimulatedState:
    """A snapshot of the calling thread, but for the current ubatch, which the schedule sets."""

    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self._stream = device.current()
        self._variables = [(var, value) for var, value in copy_context().items() if var is not PLACE]

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Set it in the thread that enters, undo on exit."""
        tokens: list[tuple[Any, Token[Any]]] = [(var, var.set(value)) for var, value in self._variables]
        former = self._device.make_current(self._stream)
        try:
            yield
        finally:
            self._device.make_current(former)
            for var, token in reversed(tokens):
                var.reset(token)
