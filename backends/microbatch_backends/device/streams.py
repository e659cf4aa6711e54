"""Streams and events of a device.

Invariant: nothing here waits for the whole device, only for one stream or one event, and ordering one stream
after another costs the host no wait. A wait with a time limit polls, because the driver's own wait cannot be
limited or interrupted.

A stream is used with its own device current only. That is why it knows its device: CuPy needs that, and there
the default streams of two devices compare equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from microbatch.errors import ArgumentTypeError
from microbatch.extend.protocols import Event, Stream
from microbatch_backends.device.driver import Driver, TimingDriver

__all__ = ["DeviceEvent", "DeviceStream", "TimedDeviceEvent"]

SHORTEST_NAP = 20e-6
"""Seconds between the first two polls; each later pause is twice as long."""
LONGEST_NAP = 1e-3
"""Seconds between two polls at most."""


class DeviceEvent:
    """An event; one that was never recorded counts as done."""

    __slots__ = ("driver", "raw", "recorded")

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.raw: Any = driver.new_event()
        """The framework's event."""
        self.recorded = False
        """Whether there is anything to wait for."""

    def record(self, stream: Stream) -> None:
        """Mark the work launched on `stream` so far."""
        self.raw.record(_raw(stream, DeviceStream, self.driver))
        self.recorded = True

    def done(self) -> bool:
        """Whether that work has finished."""
        return not self.recorded or self.driver.finished(self.raw)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until done, or False after `timeout` seconds; raises the device's error."""
        if not self.recorded:
            return True
        if timeout is not None and not _poll(self.done, timeout):
            return False
        # After a successful poll this returns at once. It is called all the same, because torch's stream
        # sanitizer takes a synchronize as a wait and a query as none.
        self.raw.synchronize()
        return True


class TimedDeviceEvent(DeviceEvent):
    """An event with a time, for a step that is recorded: waiting for one is slower."""

    __slots__ = ("_timing",)

    def __init__(self, driver: TimingDriver) -> None:
        self.driver = self._timing = driver
        self.raw: Any = driver.new_timed_event()
        self.recorded = False

    def seconds_until(self, later: TimedDeviceEvent) -> float:
        """Seconds of the device from this event to `later`; both have been waited for."""
        return self._timing.seconds_between(self.raw, later.raw)

    def another(self) -> TimedDeviceEvent:
        """A new one."""
        return TimedDeviceEvent(self._timing)


@dataclass(slots=True, unsafe_hash=True)
class DeviceStream:
    """A stream of device `index`; equal to another object for the same device stream."""

    driver: Driver = field(compare=False)
    """Reaches the framework."""
    raw: Any
    """The framework's stream."""
    index: int
    """Number of its device."""
    purpose: str = field(compare=False)
    """What the backend made it for."""

    def submit(self, work: Callable[[], object]) -> None:
        """Run `work` now with this stream current, so that what it launches is ordered here."""
        with self.activate():
            work()

    def wait(self, event: Event) -> None:
        """Order later work after `event`'s latest record; the host does not block."""
        raw = _raw(event, DeviceEvent, self.driver)
        if event.recorded:  # type: ignore[attr-defined]
            self.raw.wait_event(raw)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until launched work is done, or False after `timeout` seconds; raises the device's error."""
        if timeout is None:
            self.raw.synchronize()
            return True
        with self.activate():  # an event belongs to the device that is current when it is made
            event = DeviceEvent(self.driver)
            event.record(self)
        return event.synchronize(timeout)

    def activate(self) -> AbstractContextManager[None]:
        """Make this stream and its device the calling thread's, and put both back on exit."""
        return self.driver.activate(self.raw, self.index)


def _raw(given: object, kind: type[DeviceEvent | DeviceStream], driver: Driver) -> Any:
    """The framework's object in `given`; ArgumentTypeError if that is of another kind or framework."""
    if not isinstance(given, kind) or type(given.driver) is not type(driver):
        raise ArgumentTypeError(
            f"a {type(given).__name__} was given where a {kind.__name__} of this device was expected;"
            " use the events and streams of one backend together"
        )
    return given.raw


def _poll(done: Callable[[], bool], timeout: float) -> bool:
    """Ask until done or until `timeout` seconds have passed."""
    deadline = time.monotonic() + timeout
    nap = SHORTEST_NAP
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(nap, left))
        nap = min(2 * nap, LONGEST_NAP)
    return True
