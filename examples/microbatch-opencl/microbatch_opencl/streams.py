"""Command queues as streams, markers as events.

Invariant: every stream is one in-order queue; queues are ordered by markers only. The host never calls
`finish()` or `Event.wait()` on unfinished work: both block in C, for ever behind a user event nobody sets, so
waits go through a callback and can be limited and interrupted. Host memory of a copy is held by its stream
until the copy is done, since pyopencl blocks when the event of an unfinished copy is dropped.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pyopencl as cl

__all__ = ["ClEvent", "ClStream", "ClStreams", "Current", "streams_of"]

COMPLETE = cl.command_execution_status.COMPLETE


class Current(threading.local):
    """The stream that is active in each thread."""

    stream: ClStream | None = None


class ClEvent:
    """A marker in a queue."""

    def __init__(self) -> None:
        self.mark: Any = None

    def record(self, stream: ClStream) -> None:
        """Stand for all that was submitted to `stream` so far."""
        self.mark = stream.mark()

    def done(self) -> bool:
        """Whether it has finished, or failed."""
        return self.mark is None or _finished(self.mark)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Wait; False after `timeout` seconds. Raises pyopencl.Error where the work failed."""
        return self.mark is None or _wait(self.mark, timeout)


class ClStream:
    """One in-order command queue."""

    def __init__(self, context: Any, purpose: str, current: Current) -> None:
        self.purpose = purpose
        self.queue = cl.CommandQueue(context)
        self._current = current
        self._held: deque[tuple[Any, Any]] = deque()

    def submit(self, work: Callable[[], object]) -> None:
        """Call `work` at once with this stream current: what it enqueues is ordered here."""
        with self.activate():
            work()

    def wait(self, event: ClEvent) -> None:
        """Order later commands after `event`; the host does not block."""
        if event.mark is not None and not event.done():
            cl.enqueue_barrier(self.queue, wait_for=[event.mark])
            self.queue.flush()

    def synchronize(self, timeout: float | None = None) -> bool:
        """Wait for all commands so far; False after `timeout` seconds."""
        return _wait(self.mark(), timeout)

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Enqueue what this thread computes here."""
        former, self._current.stream = self._current.stream, self
        try:
            yield
        finally:
            self._current.stream = former

    def mark(self) -> Any:
        """A marker behind all commands, on its way to the device."""
        self._let_go()
        mark = cl.enqueue_marker(self.queue)
        self.queue.flush()
        return mark

    def hold(self, event: Any, memory: Any) -> None:
        """Keep `memory` and the event of its copy until the copy is done."""
        self._let_go()
        self._held.append((event, memory))

    def _let_go(self) -> None:
        while self._held and _finished(self._held[0][0]):
            self._held.popleft()


class ClStreams:
    """The streams of one context, whoever asks: arrays of two backend objects meet on the same queues."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._current = Current()
        self._lock = threading.Lock()
        self._streams: dict[str, ClStream] = {}

    def of(self, purpose: str) -> ClStream:
        """The queue for `purpose`; the same object each time."""
        with self._lock:
            if purpose not in self._streams:
                self._streams[purpose] = ClStream(self._context, purpose, self._current)
            return self._streams[purpose]

    def current(self) -> ClStream:
        """The active queue of this thread, else one that all threads share for what is under no stream."""
        return self._current.stream or self.of("default")


@cache
def streams_of(context: Any) -> ClStreams:
    """The one set of streams of `context`."""
    return ClStreams(context)


def _finished(mark: Any) -> bool:
    return bool(mark.command_execution_status <= COMPLETE)


def _wait(mark: Any, timeout: float | None) -> bool:
    if not _finished(mark):
        reached = threading.Event()
        mark.set_callback(COMPLETE, lambda status: reached.set())
        if not reached.wait(timeout):
            return False
    mark.wait()
    return True
