"""Streams and events of a simulated device.

Invariant: the host never waits in `record` or `wait`; only `synchronize` and reads of values do. What is launched in
a thread goes to the stream that is active there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from microbatch.errors import ArgumentTypeError
from microbatch.extend.protocols import Event, Stream
from microbatch.testing.simulated.capture import Capture, Covered
from microbatch.testing.simulated.executor import Mark

if TYPE_CHECKING:
    from microbatch.testing.simulated.device import SimulatedDevice

__all__ = ["SimulatedEvent", "SimulatedStream"]


class SimulatedStream:
    """An ordered queue of the device."""

    __slots__ = ("_device", "number", "purpose")

    def __init__(self, device: SimulatedDevice, number: int, purpose: str) -> None:
        self._device = device
        self.number = number
        self.purpose = purpose

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
        local = self._device.local
        former, local.stream = local.stream, self
        try:
            yield
        finally:
            local.stream = former

    def __repr__(self) -> str:
        return f"<{self.purpose} stream of {self._device.name!r}>"


class SimulatedEvent:
    """A point in the work of a stream; never recorded counts as done."""

    __slots__ = ("_device", "captured", "mark", "number")

    def __init__(self, device: SimulatedDevice, number: int) -> None:
        self._device = device
        self.number = number
        self.mark: Mark | None = None
        self.captured: tuple[Capture, Covered] | None = None
        """The capture it was last recorded in, and the work it stands for there."""

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
