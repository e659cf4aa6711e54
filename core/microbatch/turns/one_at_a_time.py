"""A line for something that only one thread may use at a time.

Invariant: whoever is first in the line has it, and nobody else. Who leaves wakes the next one, also after an
error or an interrupt. A wake-up that was lost costs `RECHECK` seconds, never the step, since whoever waits
looks at the line again. Rejected: a lock, which a thread that is interrupted could keep; a queue of work that
whoever has the turn works off, as what waits in it would pile up where writing is slower than computing.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime

RECHECK = 0.1
"""Seconds after which a thread that waits looks at the line without having been woken."""
Answer = TypeVar("Answer")


class OneAtATime:
    """Runs what it is given by one thread at a time, in the order of their coming."""

    __slots__ = ("_line", "_runtime")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._line: deque[Gate] = deque()

    def run(self, work: Callable[[], Answer]) -> Answer:
        """What `work` returns, once everybody who came before has left; raises what it raises."""
        place = self._runtime.gate()
        try:
            try:
                self._line.append(place)
                self._runtime.point("in line")
                self._await(place)
                return work()
            finally:
                self._leave(place)
        finally:
            self._leave(place)  # again: an interrupt may have come just before the first one

    def _await(self, place: Gate) -> None:
        """Return when `place` is first.

        The loop has a function of its own: Python 3.12 and 3.13 do not guard a loop's jump back in a `try`.
        """
        while self._line[0] is not place:
            place.wait(RECHECK)

    def _leave(self, place: Gate) -> None:
        """Give the place up, and wake whoever is first now."""
        with contextlib.suppress(ValueError):  # it was left already, or never taken
            self._line.remove(place)
        with contextlib.suppress(IndexError):  # nobody is there
            self._line[0].open()
