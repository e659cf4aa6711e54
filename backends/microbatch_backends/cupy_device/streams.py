"""Streams and events of CuPy, and the place of a thread.

Invariant: a stream belongs to the device that was current when it was made, and is only ever used with that device
current; nothing waits for the whole device. CuPy gives a freed block back to the stream it was allocated on at once and
has no `record_stream`, so who launches work on another stream keeps the arrays until an event after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from microbatch.errors import ArgumentTypeError
from microbatch.extend.protocols import Event, Stream
from microbatch_backends.cupy_device.namespace import CupyNamespace

__all__ = ["CupyEvent", "CupyStream", "poll"]

SHORTEST_NAP = 20e-6
LONGEST_NAP = 1e-3


class CupyEvent:
    """An event of the device that was current when it was made."""

    __slots__ = ("_recorded", "raw")

    def __init__(self, namespace: CupyNamespace) -> None:
        self._recorded = False
        self.raw: Any = namespace.new_event()

    @property
    def recorded(self) -> bool:
        """Whether there is anything to wait for."""
        return self._recorded

    def record(self, stream: Stream) -> None:
        """Mark the work launched on `stream` so far."""
        if not isinstance(stream, CupyStream):
            raise _foreign(stream, "CupyStream")
        self.raw.record(stream.raw)
        self._recorded = True

    def done(self) -> bool:
        """Whether that work has finished."""
        return not self._recorded or bool(self.raw.done)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until done, or False after `timeout` seconds; raises the device's error."""
        if not self._recorded:
            return True
        if timeout is None:
            self.raw.synchronize()
            return True
        return poll(self.done, timeout)


class CupyStream:
    """A stream of one device; equal to another on the same device stream."""

    __slots__ = ("_namespace", "index", "purpose", "raw")

    def __init__(self, namespace: CupyNamespace, raw: Any, index: int, purpose: str) -> None:
        self._namespace = namespace
        self.index = index
        self.purpose = purpose
        self.raw = raw

    def submit(self, work: Callable[[], object]) -> None:
        """Run `work` now with this stream current, so that what it launches is ordered here."""
        with self.activate():
            work()

    def wait(self, event: Event) -> None:
        """Order later work after `event`'s latest record; the host goes on."""
        if not isinstance(event, CupyEvent):
            raise _foreign(event, "CupyEvent")
        if event.recorded:
            self.raw.wait_event(event.raw)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until all launched work is done, or False after `timeout` seconds."""
        if timeout is None:
            self.raw.synchronize()
            return True
        with self.activate():
            event = CupyEvent(self._namespace)
            event.record(self)
        return event.synchronize(timeout)

    def activate(self) -> AbstractContextManager[None]:
        """Make this stream and its device the calling thread's, and put both back on exit."""
        return self._namespace.activate(self.raw, self.index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CupyStream) and self.index == other.index and bool(self.raw == other.raw)

    def __hash__(self) -> int:
        return hash((self.index, self.raw))


def poll(done: Callable[[], bool], timeout: float) -> bool:
    """Ask until done, at growing distances; the driver's own wait cannot be limited or interrupted."""
    deadline = time.monotonic() + timeout
    nap = SHORTEST_NAP
    while not done():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(nap, left))
        nap = min(2 * nap, LONGEST_NAP)
    return True


def _foreign(given: object, wanted: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"a {wanted} was expected, not a {type(given).__name__}; use the events and streams of one backend together"
    )
