"""What the shared device code asks of a framework.

Invariant: everything in this package reaches a device through one `Driver`. So a backend for another
framework fills in this class, and a test puts a recording one in its place. What a method does is said here
once, and not again where a framework fills it in.

Raw streams and events are the framework's own objects. Of a raw stream `wait_event(event)` and
`synchronize()` are used, of a raw event `record(stream)` and `synchronize()`, as torch and CuPy have them.
Two raw streams of one device must be equal, and have the same hash, where they are the same stream.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Driver", "TimingDriver"]


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


class TimingDriver(Driver, Protocol):
    """One whose events can tell when the device came to them."""

    def new_timed_event(self) -> Any:
        """A raw event with a time."""
        ...

    def seconds_between(self, first: Any, last: Any) -> float:
        """Seconds of the device between two raw events with times that have both been reached."""
        ...
