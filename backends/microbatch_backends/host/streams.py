"""Streams of a backend that computes on the host: real queues that run beside the caller.

Invariant: work submitted to one stream runs in order; events alone order two streams. While a stream is
active in a thread, that thread does the stream's work itself, because host arrays compute where they are
called: a wait blocks, and submitted work has run when `submit` returns. `activate` first waits for what was
submitted before.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from microbatch.errors import ArgumentTypeError
from microbatch.extend.protocols import Event, Stream, ThreadState
from microbatch_backends.host.events import HostEvent, Mark
from microbatch_backends.host.queues import WorkQueue


class Current(threading.local):
    """The stream that is active in each thread."""

    stream: Stream | None = None


class HostStream:
    """An ordered queue with a thread of its own, started at the first submit."""

    def __init__(
        self, purpose: str, current: Current, capture: Callable[[], ThreadState], queue: WorkQueue
    ) -> None:
        self.purpose = purpose
        self._current = current
        self._capture = capture
        self._queue = queue
        weakref.finalize(self, queue.let_go)

    def submit(self, work: Callable[[], object]) -> None:
        """Run `work` after all that was submitted before, with the caller's context variables and modes."""
        if self._current.stream is self:
            self.synchronize()
            work()
            return
        # the item holds this stream, so a stream that nobody else holds still finishes its work
        self._queue.run(partial(self._carry_out, work, self._capture()))

    def wait(self, event: Event) -> None:
        """Order later work after `event`'s latest record; blocks only where this stream is active."""
        if not isinstance(event, HostEvent):
            raise ArgumentTypeError(
                f"a stream of the host cannot wait for a {type(event).__name__};"
                " use the events and streams of one backend together"
            )
        mark = event.mark
        if mark is None or (mark.done() and mark.error is None):
            return
        if self._current.stream is self:
            event.synchronize()
        else:
            self._queue.after(mark)

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until submitted work is done, or False after `timeout` seconds; raises its first error."""
        return self.mark().reached(timeout)

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Wait for what was submitted, then let the calling thread do the stream's work itself."""
        former = self._current.stream
        if former is not self:
            self.synchronize()
        self._current.stream = self
        try:
            yield
        finally:
            self._current.stream = former

    def mark(self) -> Mark:
        """A mark behind all that was submitted so far."""
        return self._queue.mark()

    def stop(self, timeout: float | None = 5.0) -> bool:
        """Let submitted work finish and end the thread; False if it still runs after `timeout` seconds."""
        return self._queue.stop(timeout)

    def _carry_out(self, work: Callable[[], object], state: ThreadState) -> None:
        """Run one item in the queue's thread, with this stream as the current one."""
        self._current.stream = self  # not `activate`, which waits for what was submitted: 3 us against 12
        try:
            with state.apply():
                work()
        finally:
            self._current.stream = None


class CallerStream(HostStream):
    """The calling thread, where no stream is active: work on it is done at once, so its queue stays empty."""

    def submit(self, work: Callable[[], object]) -> None:
        """Run `work` now."""
        work()

    def wait(self, event: Event) -> None:
        """Block until `event` is done; raises the error of failed work."""
        event.synchronize()
