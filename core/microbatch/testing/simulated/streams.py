"""Streams and events of a simulated device, and what each host thread has on it.

Invariant: the host never waits in `record` or `wait`; only `synchronize` and reads of values do. What is
launched in a thread goes to the stream that is active there, and into a capture where that stream captures.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from microbatch.errors import ArgumentTypeError
from microbatch.extend.protocols import Event, Stream
from microbatch.testing.recording.trace import Access, Kind, Trace
from microbatch.testing.simulated.capture import Capture, CapturedMark, CaptureRefusedError
from microbatch.testing.simulated.executor import Executor, Mark


class SimulatedStream:
    """An ordered queue of the device."""

    __slots__ = ("_device", "capture", "number", "purpose")

    def __init__(self, device: StreamDevice, number: int, purpose: str) -> None:
        self._device = device
        self.number = number
        """Number on its device; each stream has its own."""
        self.purpose = purpose
        """What it is for, by which `Backend.stream` finds it."""
        self.capture: Capture | None = None
        """The capture that this stream takes part in now."""

    def join(self, capture: Capture) -> None:
        """What is launched here belongs to `capture` until that ends."""
        self.capture = capture
        capture.join(self.number, self.purpose)

    def submit(self, work: Callable[[], object]) -> None:
        """Call `work` now, so that what it launches is ordered here."""
        with self.activate():
            work()

    def wait(self, event: Event) -> None:
        """Order later work after `event`'s latest record; nothing if it was never recorded."""
        if not isinstance(event, SimulatedEvent):
            raise _foreign("a stream of a simulated device cannot wait for", event)
        if event.captured is not None:
            self._wait_captured(event.captured)
        elif self.capture is None:
            self._device.note("wait", self.purpose, token=event.number)
            if event.mark is not None:
                self._device.executor.wait(self.number, event.mark)
        elif event.mark is not None:
            raise CaptureRefusedError(
                "cannot make captured work wait for work that is not captured; wait for it before the capture"
            )

    def _wait_captured(self, mark: CapturedMark) -> None:
        capture = mark.capture
        if not capture.open or self.capture not in (None, capture):
            raise CaptureRefusedError(
                "cannot wait for an event that was last recorded in another capture; record it again outside"
            )
        if self.capture is None:
            self.join(capture)
        capture.wait(self.number, mark)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Run all that was launched here; raises the first error of that work."""
        if self.capture is not None:
            raise CaptureRefusedError(
                f"cannot synchronize the {self.purpose} stream, which captures; "
                "do it before, or run this part uncaptured"
            )
        device = self._device
        device.refuse_in_capture("synchronize a stream")
        device.note("sync_stream", self.purpose)
        device.executor.finish(device.executor.mark(self.number))
        return True

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Make this stream the current one of the calling thread."""
        former = self._device.make_current(self)
        try:
            yield
        finally:
            self._device.make_current(former)

    def __repr__(self) -> str:
        return f"<{self.purpose} stream of {self._device.name!r}>"


class SimulatedEvent:
    """A point in the work of a stream; never recorded counts as done."""

    __slots__ = ("_device", "captured", "mark", "number")

    def __init__(self, device: StreamDevice, number: int) -> None:
        self._device = device
        self.number = number
        """Number on its device; each event has its own."""
        self.mark: Mark | None = None
        """The point of work that it was last recorded at, None before and in a capture."""
        self.captured: CapturedMark | None = None
        """The point of a capture that it was last recorded at."""

    def record(self, stream: Stream) -> None:
        """Mark the work launched on `stream` so far."""
        if not isinstance(stream, SimulatedStream):
            raise _foreign("an event of a simulated device cannot be recorded on", stream)
        if stream.capture is not None:
            self.captured = stream.capture.record(stream.number)
            return
        self.captured = None
        self._device.note("record", stream.purpose, token=self.number)
        self.mark = self._device.executor.mark(stream.number)

    def done(self) -> bool:
        """Whether that work has run; False as long as the device may say so.

        True counts as a wait in the trace, since the program may rely on it.
        """
        self._refuse_captured("ask for")
        done = self.mark is None or self._device.executor.poll(self.mark)
        if done:
            self._device.note("sync_event", token=self.number)
        return done

    def synchronize(self, timeout: float | None = None) -> bool:
        """Run what must run for that work to be done; raises its error."""
        self._refuse_captured("synchronize")
        self._device.refuse_in_capture("synchronize an event")
        self._device.note("sync_event", token=self.number)
        if self.mark is not None:
            self._device.executor.finish(self.mark)
        return True

    def _refuse_captured(self, what: str) -> None:
        if self.captured is not None:
            raise CaptureRefusedError(
                f"cannot {what} an event of a capture; only its streams can wait for it"
            )


class StreamDevice:
    """The streams of a device, and which of them is active in each thread."""

    kind_of_stream: type[SimulatedStream] = SimulatedStream
    """What its streams are; a test may put one that misbehaves here."""

    def __init__(self, name: str, executor: Executor, trace: Trace | None) -> None:
        self.name = name
        """Its name, for messages."""
        self.executor = executor
        """When launched work runs."""
        self.trace = trace
        """Where calls are written down; None where nobody asks."""
        self.streams: dict[str, SimulatedStream] = {}
        """Name -> stream."""
        self.purposes: dict[int, str] = {}
        """Number of a stream -> the first word of its name."""
        self._numbers = itertools.count()
        self._events = itertools.count()
        self._lock = threading.Lock()
        self.local = _Local(self.named("default"))
        """What the calling thread has here."""

    def named(self, name: str) -> SimulatedStream:
        """The stream of that very name."""
        found = self.streams.get(name)
        if found is None:
            with self._lock:
                made = self.kind_of_stream(self, next(self._numbers), name)
                found = self.streams.setdefault(name, made)
                self.purposes[found.number] = name.partition(" ")[0]
        return found

    def event(self) -> SimulatedEvent:
        """A new event."""
        return SimulatedEvent(self, next(self._events))

    def current(self) -> SimulatedStream:
        """The stream that is active in the calling thread."""
        return self.local.stream

    def make_current(self, stream: SimulatedStream) -> SimulatedStream:
        """Launch what the calling thread does from now on on `stream`; returns the former one."""
        former, self.local.stream = self.local.stream, stream
        return former

    def refuse_in_capture(self, what: str) -> None:
        """CaptureRefusedError while the calling thread captures."""
        if self.local.capturing:
            raise CaptureRefusedError(
                f"cannot {what} during a capture; do it before, or run this part uncaptured"
            )

    def note(
        self,
        kind: Kind,
        stream: str | None = None,
        *,
        token: Any = None,
        accesses: Sequence[Access] = (),
        label: str = "",
    ) -> None:
        """Tell the trace, if there is one."""
        if self.trace is not None:
            self.trace.add(kind, stream, token, accesses, label)


class _Local(threading.local):
    """What each thread has on a device."""

    def __init__(self, stream: SimulatedStream) -> None:
        self.stream = stream
        """The stream that is active in it."""
        self.capturing = False
        """Whether it has begun a capture that has not ended."""


def _foreign(what: str, other: object) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{what} a {type(other).__name__}; use the events and streams of one backend together"
    )
