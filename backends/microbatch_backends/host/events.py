"""Points in the work of host queues.

Invariant: a mark is finished once and stays finished, with the error of the work before it. An event refers
to a mark, and recording the event again makes it refer to another one. A wait keeps the mark that it saw when
it was issued. Whoever waits does so in a latch of the runtime, which an interrupt cannot damage.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from microbatch.errors import ArgumentTypeError, ClosedError
from microbatch.extend.protocols import Stream
from microbatch.turns.latch import Latch
from microbatch.turns.runtime import Runtime


class Mark:
    """One place in one queue, which `on_raise` tells that its error was raised."""

    __slots__ = ("_finished", "_on_raise", "_process", "error")

    def __init__(self, runtime: Runtime, on_raise: Callable[[BaseException], None]) -> None:
        self._finished = Latch(runtime)
        self._on_raise = on_raise
        self._process = os.getpid()
        self.error: BaseException | None = None
        """What the work before the mark failed with."""

    def finish(self, error: BaseException | None) -> None:
        """Say that the queue has reached the mark; `error` is what the work before it failed with."""
        self.error = error
        self._finished.open()

    def done(self) -> bool:
        """Whether the queue has reached the mark."""
        return self._finished.opened

    def wait(self, timeout: float | None = None) -> bool:
        """Block until done, or False after `timeout` seconds; ClosedError in a child forked since."""
        if not self._finished.opened and os.getpid() != self._process:
            raise ClosedError(
                f"this work was queued in process {self._process} and is not in the forked process"
                f" {os.getpid()}; submit it again in the child"
            )
        return self._finished.wait(timeout)

    def reached(self, timeout: float | None = None) -> bool:
        """As `wait`; where the work before the mark failed, raise its error and let the queue run again."""
        done = self.wait(timeout)
        if done and self.error is not None:
            self._on_raise(self.error)
            raise self.error
        return done


class HostEvent:
    """An event of host queues; one that was never recorded counts as done."""

    __slots__ = ("mark",)

    def __init__(self) -> None:
        self.mark: Mark | None = None
        """What was recorded last."""

    def record(self, stream: Stream) -> None:
        """Mark the work submitted to `stream` so far."""
        mark = getattr(stream, "mark", None)
        if mark is None:
            raise ArgumentTypeError(
                f"an event of the host cannot be recorded on a {type(stream).__name__};"
                " use the events and streams of one backend together"
            )
        self.mark = mark()

    def done(self) -> bool:
        """Whether that work has finished."""
        return self.mark is None or self.mark.done()

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block until done, or False after `timeout` seconds; raises the error of failed work."""
        mark = self.mark
        return mark is None or mark.reached(timeout)
