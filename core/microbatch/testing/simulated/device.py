"""A simulated device: launches work, hands out memory, and tells the trace.

Invariant: everything that touches memory goes through `_launch`, so nothing runs or is recorded beside it.
Queued work holds bytes, never arrays: an array that the program drops is freed at once, whatever is still
queued for it. A capture takes what is launched on its streams, from any thread; the thread that began it may
not wait on the host meanwhile. Captures begin and end in `graphs.py`.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from microbatch.testing.recording.trace import Access, Kind, Trace
from microbatch.testing.simulated.array import DeviceArray
from microbatch.testing.simulated.block_view import BlockView, DeviceView
from microbatch.testing.simulated.capture import CapturedMark, CaptureRefusedError, Launch
from microbatch.testing.simulated.executor import Executor, Work
from microbatch.testing.simulated.memory import POISON, DeviceMemory
from microbatch.testing.simulated.streams import SimulatedEvent, SimulatedStream

__all__ = ["LANES", "SimulatedDevice"]

LANES: ContextVar[tuple[SimulatedDevice, str] | None] = ContextVar("simulated_capture_lanes", default=None)
"""Device and name of the capture that the calling code is part of; workers get it with the context."""


class _Local(threading.local):
    """What each thread has on this device."""

    def __init__(self, stream: SimulatedStream) -> None:
        self.stream = stream
        """The stream that is active in it."""
        self.capturing = False
        """Whether it has begun a capture that has not ended."""


class SimulatedDevice:
    """Streams, memory and arrays of one simulated device."""

    kind_of_stream: type[SimulatedStream] = SimulatedStream
    """What its streams are; a test may put one that misbehaves here."""

    def __init__(
        self, name: str, executor: Executor, memory: DeviceMemory, trace: Trace | None, *, lazy: bool
    ) -> None:
        self.name = name
        self.lazy = lazy
        self.executor = executor
        self.memory = memory
        self.trace = trace
        self._numbers = itertools.count()
        self._events = itertools.count()
        self._captures = itertools.count()
        self._lanes = itertools.count()
        self.streams: dict[str, SimulatedStream] = {}
        self.purposes: dict[int, str] = {}
        self._lock = threading.Lock()
        self.local = _Local(self.named("default"))

    def stream(self, purpose: str) -> SimulatedStream:
        """The stream for `purpose`, the same each time; inside a capture it is the capture's own."""
        inside = self.inside()
        return self.named(purpose if inside is None else f"{purpose} of {inside}")

    def lane(self, purpose: str) -> SimulatedStream:
        """A new stream for `purpose`."""
        return self.named(f"{purpose} lane {next(self._lanes)}")

    def next_capture(self) -> str:
        """The name of a new capture."""
        return f"capture {next(self._captures)}"

    def inside(self) -> str | None:
        """Name of the capture that the calling code is part of."""
        lanes = LANES.get()
        return lanes[1] if lanes is not None and lanes[0] is self else None

    def named(self, name: str) -> SimulatedStream:
        """The stream of that very name."""
        found = self.streams.get(name)
        if found is None:
            with self._lock:
                made = self.kind_of_stream(self, next(self._numbers), name)
                found = self.streams.setdefault(name, made)
                self.purposes[found.number] = name.partition(" ")[0]
        return found

    def current(self) -> SimulatedStream:
        """The stream that is active in the calling thread."""
        return self.local.stream

    def make_current(self, stream: SimulatedStream) -> SimulatedStream:
        """Launch what the calling thread does from now on on `stream`; returns the former one."""
        former, self.local.stream = self.local.stream, stream
        return former

    def event(self) -> SimulatedEvent:
        """A new event."""
        return SimulatedEvent(self, next(self._events))

    def record(self, event: SimulatedEvent, stream: SimulatedStream) -> None:
        """Mark the work launched on `stream` so far."""
        if stream.capture is not None:
            event.captured = stream.capture.record(stream.number)
            return
        event.captured = None
        self._note("record", stream.purpose, token=event.number)
        event.mark = self.executor.mark(stream.number)

    def wait(self, stream: SimulatedStream, event: SimulatedEvent) -> None:
        """Order later work of `stream` after the latest record of `event`."""
        if event.captured is not None:
            self._wait_captured(stream, event.captured)
            return
        if event.mark is None and stream.capture is not None:
            return
        if stream.capture is not None:
            raise CaptureRefusedError(
                "cannot make captured work wait for work that is not captured; wait for it before the capture"
            )
        self._note("wait", stream.purpose, token=event.number)
        if event.mark is not None:
            self.executor.wait(stream.number, event.mark)

    def _wait_captured(self, stream: SimulatedStream, mark: CapturedMark) -> None:
        capture = mark.capture
        if not capture.open or stream.capture not in (None, capture):
            raise CaptureRefusedError(
                "cannot wait for an event that was last recorded in another capture; record it again outside"
            )
        if stream.capture is None:
            stream.join(capture)
        capture.wait(stream.number, mark)

    def poll(self, event: SimulatedEvent) -> bool:
        """Whether the marked work has run; True counts as a wait, since the program may rely on it."""
        if event.captured is not None:
            raise CaptureRefusedError(
                "cannot ask for an event of a capture; only its streams can wait for it"
            )
        done = event.mark is None or self.executor.poll(event.mark)
        if done:
            self._note("sync_event", token=event.number)
        return done

    def finish_event(self, event: SimulatedEvent) -> None:
        """Wait on the host for the marked work."""
        if event.captured is not None:
            raise CaptureRefusedError(
                "cannot synchronize an event of a capture; only its streams can wait for it"
            )
        self.refuse_in_capture("synchronize an event")
        self._note("sync_event", token=event.number)
        if event.mark is not None:
            self.executor.finish(event.mark)

    def finish_stream(self, stream: SimulatedStream) -> None:
        """Wait on the host for all work of `stream`."""
        if stream.capture is not None:
            raise CaptureRefusedError(
                f"cannot synchronize the {stream.purpose} stream, which captures; "
                "do it before, or run this part uncaptured"
            )
        self.refuse_in_capture("synchronize a stream")
        self._note("sync_stream", stream.purpose)
        self.executor.finish(self.executor.mark(stream.number))

    def finish_all(self) -> None:
        """Wait on the host for all work of all streams."""
        self.refuse_in_capture("synchronize the device")
        self._note("sync_device")
        marks = [self.executor.mark(stream.number) for stream in list(self.streams.values())]
        for mark in marks:
            self.executor.finish(mark)

    def empty(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """An array of poison; reused memory is poisoned in the order of the current stream."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        stream = self.current()
        owner = stream.purpose if stream.capture is None else (stream.capture.pool, stream.purpose)
        allocation = self.memory.allocate(count * kind.itemsize, owner)
        block = allocation.block
        if allocation.reused:
            data = block.data
            access = Access(block.number, 0, block.size, write=True)
            self._launch(
                Launch(
                    work=lambda: data.fill(POISON),
                    accesses=(access,),
                    label="reuse of a freed block",
                    kind="alloc",
                )
            )
        view = block.data[: count * kind.itemsize].view(kind).reshape(tuple(shape))
        return DeviceArray(view, block, self)

    def fetch(self, array: DeviceView) -> np.ndarray:
        """A host copy, after the current stream's work."""
        self.finish_stream(self.current())
        self._note("host", accesses=_accesses(array, write=False), label="read")
        return array.view.copy()

    def launch(self, work: Work, reads: Sequence[BlockView], writes: Sequence[BlockView], label: str) -> None:
        """Put `work` on the current stream; it may use the views of these arrays, never the arrays."""
        accesses: list[Access] = []
        if self.trace is not None:
            for array in reads:
                accesses += _accesses(array, write=False)
            for array in writes:
                accesses += _accesses(array, write=True)
        self._launch(Launch(work=work, accesses=tuple(accesses), label=label))

    def host_access(self, view: BlockView, label: str, *, write: bool) -> None:
        """Tell the trace that the calling thread touches these bytes itself."""
        self._note("host", accesses=_accesses(view, write=write), label=label)

    @property
    def in_capture(self) -> bool:
        """Whether what the calling thread launches now is captured."""
        return self.current().capture is not None

    def enqueue(self, stream: SimulatedStream, launch: Launch) -> None:
        """Launch on `stream` now, whether it captures or not."""
        self._note(launch.kind, stream.purpose, accesses=launch.accesses, label=launch.label)
        self.executor.launch(stream.number, launch.work)

    def refuse_in_capture(self, what: str) -> None:
        """CaptureRefusedError while the calling thread captures."""
        if self.local.capturing:
            raise CaptureRefusedError(
                f"cannot {what} during a capture; do it before, or run this part uncaptured"
            )

    def _launch(self, launch: Launch) -> None:
        """Launch on the current stream, or into its capture."""
        stream = self.current()
        if stream.capture is None:
            self.enqueue(stream, launch)
        else:
            stream.capture.launch(stream.number, launch)

    def _note(
        self,
        kind: Kind,
        stream: str | None = None,
        *,
        token: Any = None,
        accesses: Sequence[Access] = (),
        label: str = "",
    ) -> None:
        if self.trace is not None:
            self.trace.add(kind, stream, token, accesses, label)


def _accesses(view: BlockView, *, write: bool) -> list[Access]:
    """The bytes of `view` as the trace says them; one access is the usual case."""
    runs, exact = view.ranges
    number = view.block.number
    if len(runs) == 1:
        return [Access(number, runs[0][0], runs[0][1], write, exact)]
    return [Access(number, low, high, write, exact) for low, high in runs]
