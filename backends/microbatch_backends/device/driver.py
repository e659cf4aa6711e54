"""What the shared device code asks of a framework.

Invariant: everything in this package reaches a device through one `Driver`, so a backend for another
framework is this class filled in, and a test puts a recording one in its place. Raw streams and events are
the framework's own objects; all that is used of them is named in `RawStream` and `RawEvent`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Driver", "RawEvent", "RawStream"]


class RawEvent(Protocol):
    """A framework's event."""

    def record(self, stream: Any, /) -> Any:
        """Mark the work launched on the raw `stream` so far."""
        ...

    def synchronize(self) -> Any:
        """Block the host until that work has finished."""
        ...


class RawStream(Protocol):
    """A framework's stream; two objects for the same stream must be equal and have the same hash."""

    def wait_event(self, event: Any, /) -> Any:
        """Order later work after the latest record of the raw `event`; the host does not block."""
        ...

    def synchronize(self) -> Any:
        """Block the host until all launched work has finished."""
        ...


class Driver(Protocol):
    """The devices of one framework. "Current" means: current in the calling thread."""

    def index(self) -> int:
        """The number of the current device."""
        ...

    def new_stream(self, priority: int) -> Any:
        """A stream of the current device that the legacy default stream does not order.

        Lower priority numbers are more urgent, as in CUDA.
        """
        ...

    def new_event(self) -> Any:
        """An event without timing, which would make waits slower."""
        ...

    def finished(self, event: Any) -> bool:
        """Whether the work that the raw `event` marks has finished; never blocks."""
        ...

    def current_stream(self) -> Any:
        """The current stream of the current device."""
        ...

    def activate(self, stream: Any, index: int) -> AbstractContextManager[Any]:
        """Make the raw `stream` and its device `index` current, and put both back on exit."""
        ...

    def name(self, index: int) -> str:
        """What the vendor calls device `index`; empty where that is not known."""
        ...

    def integrated(self, index: int) -> bool:
        """Whether device `index` uses the host's memory."""
        ...

    def empty_cache(self) -> None:
        """Give memory that the framework keeps unused back to the driver."""
        ...
