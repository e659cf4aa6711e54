"""The highest memory of this process while a job runs, without the pages of mapped files.

Invariant: reading it never fails and costs little (60 to 120 us, at most every `EVERY` seconds). What a call
takes and gives back between two readings is not seen here; the step's own measure of its parts is beside it.
"""

from __future__ import annotations

from collections.abc import Callable

from microbatch.host.proc import private_bytes

EVERY = 0.02
"""Seconds between two readings."""


class PeakMemory:
    """The highest of the readings, above the first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = self._highest = private_bytes()
        self._next = 0.0

    def look(self) -> None:
        """Read, unless it was read just now."""
        now = self._clock()
        if now >= self._next:
            self._next = now + EVERY
            self._highest = max(self._highest, private_bytes())

    @property
    def above_start(self) -> int:
        """Bytes."""
        self._next = 0.0
        self.look()
        return self._highest - self._start
