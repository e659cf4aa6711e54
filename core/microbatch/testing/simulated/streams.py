"""Streams and events of a simulated device.

Invariant: the host never waits in `record` or `wait`; only `synchronize` and reads of values do. What is
launched in a thread goes to the stream that is active there, and into a capture where that stream captures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from microbatch.errors import ArgumentTypeError
from microbatch.extend.protocols import Event, Stream
from microbatch.testing.simulated.capture import Capture, CapturedMark
from microbatch.testing.simulated.executor import Mark

__all__ = ["SimulatedEvent", "SimulatedStream", "StreamDevice"]


class StreamDevice(Protocol):
    """What streams and events ask of their device, which imports this file and cannot be imported here."""

    name: str
    """Its name, for messages."""

    def make_current(self, stream: SimulatedStream) -> SimulatedStream:
        """Launch what the calling thread does from now on on `stream`; returns the former one."""
        ...

    def record(self, event: SimulatedEvent, stream: SimulatedStream) -> None:
        """Mark the work launched on `stream` so far."""
        ...

    def wait(self, stream: SimulatedStream, event: SimulatedEvent) -> None:
        """Order later work of `stream` after the latest record of `event`."""
        ...

    def poll(self, event: SimulatedEvent) -> bool:
        """Whether the marked work has run."""
        ...

    def finish_event(self, event: SimulatedEvent) -> None:
        """Wait on the host for the marked work."""
        ...

    def finish_stream(self, stream: SimulatedStream) -> None:
        """Wait on the host for all work of `stream`."""
        ...


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
        self._device.wait(self, require_event(event))

    def synchronize(self, timeout: float | None = None) -> bool:
        """Run all that was launched here; raises the first error of that work."""
        self._device.finish_stream(self)
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
        self._device.record(self, require_stream(stream))

    def done(self) -> bool:
        """Whether that work has run; False as long as the device may say so."""
        return self._device.poll(self)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Run what must run for that work to be done; raises its error."""
        self._device.finish_event(self)
        return True


def require_event(event: Event) -> SimulatedEvent:
    """`event`, if it is of a simulated device."""
    if not isinstance(event, SimulatedEvent):
        raise ArgumentTypeError(
            f"a stream of a simulated device cannot wait for a {type(event).__name__}; "
            "use the events and streams of one backend together"
        )
    return event


def require_stream(stream: Stream) -> SimulatedStream:
    """`stream`, if it is of a simulated device."""
    if not isinstance(stream, SimulatedStream):
        raise ArgumentTypeError(
            f"an event of a simulated device cannot be recorded on a {type(stream).__name__}; "
            "use the events and streams of one backend together"
        )
    return stream
