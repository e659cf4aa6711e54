"""Streams and events of a device.

Invariant: nothing here ever waits for the whole device, only for one stream or one event; ordering between streams
costs the host no wait. What is submitted runs on the host at once, with its stream current, so what it launches is
in order. A wait with a limit polls, since the driver's own wait cannot be limited or interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from microbatch.errors import ArgumentTypeError
from microbatch.extend.protocols import Event, Stream
from microbatch_backends.torch_device.device_module import DeviceModule

__all__ = ["DeviceEvent", "DevicePlaces", "DeviceStream"]

SHORTEST_NAP = 20e-6
LONGEST_NAP = 1e-3


class DeviceEvent:
    """An event; its device is that of the stream it is first recorded on."""

    __slots__ = ("_module", "_recorded", "raw")

    def __init__(self, module: DeviceModule) -> None:
        self._module = module
        self._recorded = False
        self.raw: Any = module.new_event()

    @property
    def recorded(self) -> bool:
        """Whether there is anything to wait for."""
        return self._recorded

    def record(self, stream: Stream) -> None:
        """Mark the work launched on `stream` so far."""
        self.raw.record(_raw(stream, DeviceStream))
        self._recorded = True

    def done(self) -> bool:
        """Whether that work has finished."""
        return not self._recorded or bool(self.raw.query())

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until done, or False after `timeout` seconds; raises the device's error."""
        if not self._recorded:
            return True
        if timeout is not None and not _poll(self.done, timeout):
            return False
        self.raw.synchronize()  # after a poll too: returns at once, and torch's sanitizer counts it, a query not
        return True


class DeviceStream:
    """A stream of one device; equal to another on the same device stream."""

    __slots__ = ("_module", "purpose", "raw")

    def __init__(self, module: DeviceModule, raw: Any, purpose: str) -> None:
        self._module = module
        self.purpose = purpose
        self.raw = raw

    def submit(self, work: Callable[[], object]) -> None:
        """Run `work` now with this stream current, so that what it launches is ordered here."""
        with self._module.activate(self.raw):
            work()

    def wait(self, event: Event) -> None:
        """Order later work after `event`'s latest record; the host goes on."""
        raw = _raw(event, DeviceEvent)
        if event.recorded:  # type: ignore[attr-defined]
            self.raw.wait_event(raw)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until all launched work is done, or False after `timeout` seconds."""
        if timeout is None:
            self.raw.synchronize()
            return True
        event = DeviceEvent(self._module)
        event.record(self)
        return event.synchronize(timeout)

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Make this stream and its device the calling thread's, and put both back on exit."""
        with self._module.activate(self.raw):
            yield

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceStream) and bool(self.raw == other.raw)

    def __hash__(self) -> int:
        return hash(self.raw)


class DevicePlaces:
    """The device and stream a thread launches on, as a value that another thread can take over."""

    __slots__ = ("_module",)

    def __init__(self, module: DeviceModule) -> None:
        self._module = module

    def read(self) -> tuple[int, Any]:
        """The calling thread's device, and its stream there."""
        return self._module.index(), self._module.current_stream()

    def enter(self, value: tuple[int, Any]) -> list[Any]:
        """Set both in the calling thread; returns the streams to set again, the one of its own device last."""
        index, stream = value
        own = self._module.index()
        before = [self._module.current_stream(device) for device in dict.fromkeys((index, own))]
        self._module.set_stream(stream)
        return before

    def leave(self, before: list[Any]) -> None:
        """Undo `enter`; setting a stream makes its device the current one, so the last decides that too."""
        for stream in before:
            self._module.set_stream(stream)


def _raw(wrapped: object, kind: type[DeviceEvent | DeviceStream]) -> Any:
    if not isinstance(wrapped, kind):
        raise ArgumentTypeError(
            f"a {kind.__name__} was expected, not a {type(wrapped).__name__};"
            " use the events and streams of one backend together"
        )
    return wrapped.raw


def _poll(done: Callable[[], bool], timeout: float) -> bool:
    """Ask until done, at growing distances: 20 us at first, 1 ms at most."""
    deadline = time.monotonic() + timeout
    nap = SHORTEST_NAP
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(nap, left))
        nap = min(2 * nap, LONGEST_NAP)
    return True
