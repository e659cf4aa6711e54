"""How far a step is, on standard error: a bar on a terminal and in a notebook, else a line at each tenth.

Invariant: it is called by one thread at a time, with counts that grow (`progress.py`), and may be called for
each of many thousand parts: so it draws seldom. No thread draws it, so none is left in a forked child. Rich
is loaded where a bar is drawn, and only then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress

MOVES = 0.1
"""Seconds between two moves of the bar: drawing it takes 1 ms."""
Clock = Callable[[], float]
"""Seconds that never run backwards."""


class Quiet:
    """Counts rows and shows nothing; what the others build on."""

    def __init__(self, total: int, clock: Clock) -> None:
        self.done = 0
        self.total = total
        self._clock = clock
        self._started = clock()

    def __call__(self, done: int, total: int) -> None:
        """For `progress=` of a wrapper."""
        self.done = done
        self.total = total

    def close(self) -> None:
        """Leave the terminal as it was."""

    def _rate(self) -> float:
        """Rows per second since the start."""
        return self.done / max(self._clock() - self._started, 1e-9)


class Lines(Quiet):
    """A line at each tenth of the rows."""

    def __init__(self, total: int, clock: Clock, stream: TextIO) -> None:
        super().__init__(total, clock)
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

    def __init__(self, total: int, clock: Clock, console: Console) -> None:
        super().__init__(total, clock)
        self._bar = _made(console, clock)
        self._task = self._bar.add_task("", total=total, rate=0.0)
        self._next = 0.0
        self._start()

    def __call__(self, done: int, total: int) -> None:
        """Move the bar, if it was not moved just now."""
        super().__call__(done, total)
        now = self._clock()
        if now < self._next and done < total:
            return
        self._next = now + MOVES
        self._bar.update(self._task, completed=self.done, rate=self._rate())
        self._draw()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()

    def _start(self) -> None:
        self._bar.start()

    def _draw(self) -> None:
        self._bar.refresh()


class NotebookBar(Bar):
    """The same in a notebook, where it stays below the cell as it was at the end.

    Rich's own way needs ipywidgets, which is often not there.
    """

    def _start(self) -> None:
        notebook: Any = import_module("IPython.display")
        self._handle: Any = notebook.display(self._table(), display_id=True)

    def _draw(self) -> None:
        self._handle.update(self._table())

    def _table(self) -> Any:
        return self._bar.make_tasks_table(self._bar.tasks)  # has HTML of its own

    def close(self) -> None:
        """Leave the bar as it is."""


def bar_for(total: int, clock: Clock, stream: TextIO | None = None) -> Quiet:
    """What fits the stream: standard error by default, or the notebook that this process is for."""
    where = sys.stderr if stream is None else stream
    if not (where.isatty() or _in_notebook()):
        return Lines(total, clock, where)
    from rich.console import Console

    console = Console(file=where)
    return NotebookBar(total, clock, console) if console.is_jupyter else Bar(total, clock, console)


class StepBar:
    """The bar of one step, made when its first part has ended: a step that is not cut shows none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bar: Quiet | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None and done < total:
            self._bar = bar_for(total, self._clock)
        if self._bar is not None:
            self._bar(done, total)

    def close(self) -> None:
        """The step is over."""
        if self._bar is not None:
            self._bar.close()


def _made(console: Console, clock: Clock) -> RichProgress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("rows, {task.fields[rate]:,.0f} rows/s")
    columns = (BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, auto_refresh=False, get_time=clock)


def _in_notebook() -> bool:
    """Whether code of IPython may be around; rich says what kind it is."""
    return "IPython" in sys.modules
