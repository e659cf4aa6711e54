"""A simulated device: launches work, hands out memory, and tells the trace.

Invariant: everything that touches memory goes through `_launch`, so nothing runs or is recorded beside it. Queued work
holds bytes, never arrays: an array that the program drops is freed at once, whatever is still queued for it. A capture
takes what is launched on its streams, from any thread; the thread that began it may not wait on the host meanwhile.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from microbatch.testing.recording.trace import Access, Kind, Trace
from microbatch.testing.simulated.array import DeviceArray, Memory
from microbatch.testing.simulated.capture import Capture, CapturedMark, CaptureRefusedError
from microbatch.testing.simulated.executor import Executor, Work
from microbatch.testing.simulated.memory import POISON, DeviceMemory
from microbatch.testing.simulated.streams import SimulatedEvent, SimulatedStream

__all__ = ["SimulatedDevice"]

LANES: ContextVar[tuple[SimulatedDevice, str] | None] = ContextVar("simulated_capture_lanes", default=None)
"""Device and name of the capture whose own streams the calling code finds; goes with the context into its workers."""


class _Local(threading.local):
    """What each thread has on this device."""

    def __init__(self, stream: SimulatedStream | None = None) -> None:
        self.stream = stream
        self.capture: Capture | None = None


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
        """The stream for `purpose`, the same each time; inside a capture the one that the capture has for itself."""
        inside = self.inside()
        return self.named(purpose if inside is None else f"{purpose} of {inside}")

    def lane(self, purpose: str) -> SimulatedStream:
        """A new stream for `purpose`."""
        return self.named(f"{purpose} lane {next(self._lanes)}")

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
        stream = self.local.stream
        assert stream is not None, "a thread without a stream"
        return stream

    def event(self) -> SimulatedEvent:
        """A new event."""
        return SimulatedEvent(self, next(self._events))

    def record(self, event: SimulatedEvent, stream: SimulatedStream) -> None:
        """Mark the work launched on `stream` so far."""
        if stream.capture is not None:
            event.captured = stream.capture.record(stream)
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
            capture.join(stream)
        capture.wait(stream, mark)

    def poll(self, event: SimulatedEvent) -> bool:
        """Whether the marked work has run. A program that sees True may rely on it, so it counts as a wait."""
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
        self._refuse_in_capture("synchronize an event")
        self._note("sync_event", token=event.number)
        if event.mark is not None:
            self.executor.finish(event.mark)

    def finish_stream(self, stream: SimulatedStream) -> None:
        """Wait on the host for all work of `stream`."""
        if stream.capture is not None:
            raise CaptureRefusedError(
                f"cannot synchronize the {stream.purpose} stream, which captures; do it before, or run this part uncaptured"
            )
        self._refuse_in_capture("synchronize a stream")
        self._note("sync_stream", stream.purpose)
        self.executor.finish(self.executor.mark(stream.number))

    def finish_all(self) -> None:
        """Wait on the host for all work of all streams."""
        self._refuse_in_capture("synchronize the device")
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
            self._launch(lambda: data.fill(POISON), (access,), "reuse of a freed block", "alloc")
        view = block.data[: count * kind.itemsize].view(kind).reshape(tuple(shape))
        return DeviceArray(view, block, self)

    def fetch(self, array: DeviceArray) -> np.ndarray:
        """A host copy, after the current stream's work."""
        self.finish_stream(self.current())
        self._note("host", accesses=_accesses(array, write=False), label="read")
        return array.view.copy()

    def capture(self, work: Callable[[], Any], pool: object) -> tuple[Capture, Any]:
        """Run `work` once, then capture it; returns the capture and what `work` returned in it.

        Both happen on streams of the capture's own, so eager work of other threads cannot come in between.
        """
        self._refuse_in_capture("begin another capture")
        name = f"capture {next(self._captures)}"
        caller, origin, entry = self.current(), self.named(f"first of {name}"), self.event()
        capture = Capture(pool, origin)
        self.record(entry, caller)
        self.wait(origin, entry)
        token = LANES.set((self, name))
        try:
            with origin.activate():
                work()
                self.record(entry, origin)
                self.wait(caller, entry)
                return capture, self._captured(capture, work)
        finally:
            LANES.reset(token)

    def _captured(self, capture: Capture, work: Callable[[], Any]) -> Any:
        self.local.capture = capture
        capture.begin()
        try:
            outputs = work()
        finally:
            self.local.capture = None
            capture.end()
        unjoined = capture.unjoined()
        if unjoined:
            raise CaptureRefusedError(
                f"the capture ended with unjoined work on {', '.join(unjoined)}; make the first stream wait for it"
            )
        return outputs

    def replay(self, capture: Capture) -> None:
        """Launch captured work: that of its first stream on the current one, the rest on streams of the graph's own."""
        current = self.current()
        if current.capture is not None:
            raise CaptureRefusedError("cannot launch a graph during a capture")
        place = {
            number: current
            if stream is capture.origin
            else self.named(stream.purpose.replace("capture", "graph"))
            for number, stream in capture.streams.items()
        }
        events: dict[int, SimulatedEvent] = {}
        for call in capture.calls:
            stream = place[call.stream]
            if call.work is not None:
                self._note(call.as_, stream.purpose, accesses=call.accesses, label=f"graph: {call.label}")
                self.executor.launch(stream.number, call.work)
            elif call.kind == "record":
                event = events[id(call.mark)] = self.event()
                self.record(event, stream)
            else:
                self.wait(stream, events[id(call.mark)])

    def launch(self, work: Work, reads: Sequence[Memory], writes: Sequence[Memory], label: str) -> None:
        """Put `work` on the current stream; it may use the views of these arrays, never the arrays."""
        accesses: list[Access] = []
        if self.trace is not None:
            for array in reads:
                accesses += _accesses(array, write=False)
            for array in writes:
                accesses += _accesses(array, write=True)
        self._launch(work, accesses, label, "launch")

    def host_access(self, array: Memory, label: str, *, write: bool) -> None:
        """Tell the trace that the calling thread touches the bytes of `array` itself."""
        self._note("host", accesses=_accesses(array, write=write), label=label)

    @property
    def in_capture(self) -> bool:
        """Whether what the calling thread launches now is captured."""
        return self.current().capture is not None

    def _launch(self, work: Work, accesses: Sequence[Access], label: str, kind: Kind) -> None:
        stream = self.current()
        if stream.capture is not None:
            stream.capture.launch(stream, work, accesses, label, kind)
            return
        self._note(kind, stream.purpose, accesses=accesses, label=label)
        self.executor.launch(stream.number, work)

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

    def _refuse_in_capture(self, what: str) -> None:
        if self.local.capture is not None:
            raise CaptureRefusedError(
                f"cannot {what} during a capture; do it before, or run this part uncaptured"
            )


def _accesses(array: Memory, *, write: bool) -> list[Access]:
    runs, exact = array.ranges
    number = array.block.number
    if len(runs) == 1:
        return [Access(number, runs[0][0], runs[0][1], write, exact)]
    return [Access(number, low, high, write, exact) for low, high in runs]
