"""Points in the work of host queues.

Invariant: a mark is finished once and stays so, with the error the work before it left; an event is a replaceable
reference to a mark. A wait that was issued keeps the mark it saw, so recording the event again does not move it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from microbatch.errors import ArgumentTypeError, ClosedError
from microbatch.extend.protocols import Stream

__all__ = ["HostEvent", "Mark"]


class Mark:
    """One place in one queue."""

    __slots__ = ("_finished", "_on_raise", "_process", "error")

    def __init__(self, on_raise: Callable[[BaseException], None]) -> None:
        self._finished = threading.Event()
        self._on_raise = on_raise
        self._process = os.getpid()
        self.error: BaseException | None = None

    def finish(self, error: BaseException | None) -> None:
        """The queue has come here; `error` is what it failed with before."""
        self.error = error
        self._finished.set()

    def done(self) -> bool:
        """Whether the queue has come here."""
        return self._finished.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until done, or False after `timeout` seconds; ClosedError in a forked child, whose queue is gone."""
        if not self._finished.is_set() and os.getpid() != self._process:
            raise ClosedError(
                f"this work was queued in process {self._process} and is not in the forked process {os.getpid()};"
                " submit it again in the child"
            )
        return self._finished.wait(timeout)

    def raise_error(self) -> None:
        """Raise what the work before failed with, and let its queue run again."""
        if self.error is not None:
            self._on_raise(self.error)
            raise self.error


class HostEvent:
    """An event of host queues; one that was never recorded counts as done."""

    __slots__ = ("_mark",)

    def __init__(self) -> None:
        self._mark: Mark | None = None

    @property
    def mark(self) -> Mark | None:
        """What was recorded last."""
        return self._mark

    def record(self, stream: Stream) -> None:
        """Mark the work submitted to `stream` so far."""
        mark = getattr(stream, "mark", None)
        if mark is None:
            raise ArgumentTypeError(
                f"an event of the host cannot be recorded on a {type(stream).__name__};"
                " use the events and streams of one backend together"
            )
        self._mark = mark()

    def done(self) -> bool:
        """Whether that work has finished."""
        return self._mark is None or self._mark.done()

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until done, or False after `timeout` seconds; raises the error of failed work."""
        mark = self._mark
        if mark is None:
            return True
        if not mark.wait(timeout):
            return False
        mark.raise_error()
        return True
