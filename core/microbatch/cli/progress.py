"""How far a run is, on standard error: a bar on a terminal, else a line about every tenth of the rows.

Invariant: it is called by one thread at a time, with counts that grow (`step/progress.py`), and may be called
for each of many thousand parts: so it writes seldom. Standard output stays free for the summary.
"""

from __future__ import annotations

import sys
import time
from typing import TextIO

MOVES = 0.1
"""Seconds between two moves of the bar, which takes 20 us to move and is drawn ten times a second."""


class Quiet:
    """Counts rows and shows nothing; what the other two build on."""

    def __init__(self, total: int) -> None:
        self.done = 0
        self.total = total
        self._started = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """For `progress=` of a wrapper."""
        self.done = done
        self.total = total

    def close(self) -> None:
        """Leave the terminal as it was."""

    def _rate(self) -> float:
        """Rows per second since the start."""
        return self.done / max(time.monotonic() - self._started, 1e-9)


class Lines(Quiet):
    """A line at each tenth of the rows."""

    def __init__(self, total: int, stream: TextIO) -> None:
        super().__init__(total)
        self._stream = stream
        self._next = 1

    def __call__(self, done: int, total: int) -> None:
        """Write a line if a tenth is full that was not before."""
        super().__call__(done, total)
        tenth = 10 * done // max(1, total)
        if tenth >= self._next:
            self._next = tenth + 1
            far = f"{done:,} of {total:,} rows ({100 * done // max(1, total)} %)"
            print(f"{far}, {self._rate():,.0f} rows/s", file=self._stream, flush=True)


class Bar(Quiet):
    """A bar with rate and remaining time."""

    def __init__(self, total: int, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(total)
        rate = TextColumn("rows, {task.fields[rate]:,.0f} rows/s")
        columns = (BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(file=stream), transient=True)
        self._task = self._bar.add_task("", total=total, rate=0.0)
        self._next = 0.0
        self._bar.start()

    def __call__(self, done: int, total: int) -> None:
        """Move the bar, if it was not moved just now."""
        super().__call__(done, total)
        now = time.monotonic()
        if now < self._next and done < total:
            return
        self._next = now + MOVES
        self._bar.update(self._task, completed=self.done, rate=self._rate())

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()


def make_progress(total: int, *, quiet: bool, stream: TextIO | None = None) -> Quiet:
    """What fits the stream, standard error by default."""
    where = sys.stderr if stream is None else stream
    if quiet:
        return Quiet(total)
    return Bar(total, where) if where.isatty() else Lines(total, where)
