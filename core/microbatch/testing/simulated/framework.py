"""Streams, events and graphs of a simulated device under the names that frameworks have for them.

Invariant: what torch and CuPy have in common is here once: equal objects are the same stream, an event that
is asked for again and again is reached, and what cannot be captured is refused, in the words of the
framework (`told`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from microbatch.testing.simulated.capture import Capture
from microbatch.testing.simulated.graphs import SimulatedGraph
from microbatch.testing.simulated.streams import SimulatedEvent, SimulatedStream, StreamDevice

__all__ = ["FrameworkEvent", "FrameworkStream", "ReplayedGraph"]

Told = Callable[[], AbstractContextManager[None]]


class FrameworkStream:
    """A stream of the simulated device."""

    told: Told = staticmethod(nullcontext)
    """The block in which a refused capture is told as the framework tells it."""

    def __init__(self, device: StreamDevice, simulated: SimulatedStream) -> None:
        self._device = device
        self.simulated = simulated
        """The stream itself."""

    def wait_event(self, event: Any) -> None:
        """Order later work after the event's latest record; the host does not wait."""
        with self.told():
            self.simulated.wait(event.simulated)

    def synchronize(self) -> None:
        """Let the host wait for what was launched here."""
        with self.told():
            self.simulated.synchronize()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameworkStream) and other.simulated is self.simulated

    def __hash__(self) -> int:
        return hash(self.simulated.number)


class FrameworkEvent:
    """An event of the simulated device."""

    told: Told = staticmethod(nullcontext)
    """As of the stream."""

    def __init__(self, device: StreamDevice) -> None:
        self._device = device
        self.simulated: SimulatedEvent = device.event()
        """The event itself."""
        self._asked = 0

    def record(self, stream: Any = None) -> None:
        """Mark the work launched on `stream`, or on the current one."""
        self._asked = 0
        with self.told():
            self.simulated.record(self._device.current() if stream is None else stream.simulated)

    def synchronize(self) -> None:
        """Let the host wait for the marked work."""
        with self.told():
            self.simulated.synchronize()

    def reached(self) -> bool:
        """Whether the marked work is done; each time more work runs, as who asks may sleep meanwhile."""
        with self.told():
            self._device.refuse_in_capture("ask for an event")
            self._asked += 1
            return any(self.simulated.done() for _ in range(self._asked * self._asked))


class ReplayedGraph(SimulatedGraph):
    """Captured work whose side streams are replayed on streams that nobody else has."""

    def __init__(self, device: Any, capture: Capture, number: int) -> None:
        super().__init__(device, capture)
        self._number = number

    def _streams(self) -> dict[int, SimulatedStream]:
        """Number of a stream of the capture -> the stream that its work is launched on now."""
        named, capture = self._device.named, self._capture
        made = {number: named(f"graph{self._number}-{number}") for number in capture.purposes}
        return made | {capture.origin: self._device.current()}
