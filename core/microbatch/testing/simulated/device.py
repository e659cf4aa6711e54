"""A simulated device: launches work, hands out memory, and tells the trace.

Invariant: everything that touches memory goes through `_launch`, so nothing runs or is recorded beside it. Queued work
holds bytes, never arrays: an array that the program drops is freed at once, whatever is still queued for it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from microbatch.testing.recording.trace import Access, Kind, Trace
from microbatch.testing.simulated.array import DeviceArray, Memory
from microbatch.testing.simulated.capture import Capture, CaptureRefusedError
from microbatch.testing.simulated.executor import Executor, Work
from microbatch.testing.simulated.memory import POISON, DeviceMemory
from microbatch.testing.simulated.streams import SimulatedEvent, SimulatedStream

__all__ = ["SimulatedDevice"]


class _Local(threading.local):
    """What each thread has on this device."""

    def __init__(self, stream: SimulatedStream | None = None) -> None:
        self.stream = stream
        self.capture: Capture | None = None


class SimulatedDevice:
    """Streams, memory and arrays of one simulated device."""

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
        self.streams: dict[str, SimulatedStream] = {}
        self._lock = threading.Lock()
        self.local = _Local(self.stream("default"))

    def stream(self, purpose: str) -> SimulatedStream:
        """The stream for `purpose`, the same each time."""
        found = self.streams.get(purpose)
        if found is None:
            with self._lock:
                made = SimulatedStream(self, next(self._numbers), purpose)
                found = self.streams.setdefault(purpose, made)
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
        captured = self.local.capture
        covered = None if captured is None else captured.recorded(stream.purpose)
        event.captured = None if covered is None or captured is None else (captured, covered)
        if event.captured is not None:
            return  # a graph keeps the order of its capture
        self._note("record", stream.purpose, token=event.number)
        event.mark = self.executor.mark(stream.number)

    def wait(self, stream: SimulatedStream, event: SimulatedEvent) -> None:
        """Order later work of `stream` after the latest record of `event`."""
        captured = self.local.capture
        if captured is not None and event.captured is not None and event.captured[0] is captured:
            captured.join(stream.purpose, event.captured[1])
            return
        if captured is not None and captured.takes(stream.purpose):
            return
        self._note("wait", stream.purpose, token=event.number)
        if event.mark is not None:
            self.executor.wait(stream.number, event.mark)

    def poll(self, event: SimulatedEvent) -> bool:
        """Whether the marked work has run. A program that sees True may rely on it, so it counts as a wait."""
        done = event.mark is None or self.executor.poll(event.mark)
        if done:
            self._note("sync_event", token=event.number)
        return done

    def finish_event(self, event: SimulatedEvent) -> None:
        """Wait on the host for the marked work."""
        self._refuse_in_capture("synchronize an event")
        self._note("sync_event", token=event.number)
        if event.mark is not None:
            self.executor.finish(event.mark)

    def finish_stream(self, stream: SimulatedStream) -> None:
        """Wait on the host for all work of `stream`."""
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
        owner = stream.purpose if self.local.capture is None else self.local.capture.pool
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

    def replay(self, capture: Capture) -> None:
        """Launch captured work on the current stream, as one piece."""
        works = tuple(capture.works)

        def run() -> None:
            for work in works:
                work()

        self._launch(run, capture.accesses, "graph", "launch")

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

    @contextmanager
    def capturing(self, capture: Capture) -> Iterator[None]:
        """Collect what the calling thread launches in `capture` instead of launching it.

        CaptureRefusedError at the end if a stream that took part was not joined.
        """
        self._refuse_in_capture("begin another capture")
        self.local.capture = capture
        try:
            yield
        finally:
            self.local.capture = None
        capture.require_joined()

    @property
    def in_capture(self) -> bool:
        """Whether the calling thread captures."""
        return self.local.capture is not None

    def _launch(self, work: Work, accesses: Sequence[Access], label: str, kind: Kind) -> None:
        captured, stream = self.local.capture, self.current()
        if captured is not None and captured.takes(stream.purpose):
            captured.add(stream.purpose, work, list(accesses))
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
        if self.in_capture:
            raise CaptureRefusedError(
                f"cannot {what} during a capture; do it before, or run this part uncaptured"
            )


def _accesses(array: Memory, *, write: bool) -> list[Access]:
    runs, exact = array.ranges
    number = array.block.number
    if len(runs) == 1:
        return [Access(number, runs[0][0], runs[0][1], write, exact)]
    return [Access(number, low, high, write, exact) for low, high in runs]
