"""Progress says each tenth once, and a bar moves seldom."""

from __future__ import annotations

import io
import itertools
import sys
import time
import types
from contextlib import redirect_stderr
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.cli.progress import make_progress
from microbatch.step.bars import Bar, Lines, NotebookBar, Quiet, StepBar, bar_for


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_lines(sizes: list[int]) -> None:
    """However large the steps: at most ten lines, counts that grow, the last one for all rows."""
    total = sum(sizes)
    stream = io.StringIO()
    progress = Lines(total, time.monotonic, stream)
    for done in itertools.accumulate(sizes):
        progress(done, total)
    lines = stream.getvalue().splitlines()
    counts = [int(line.split(" of ")[0].replace(",", "")) for line in lines]
    assert 1 <= len(lines) <= 10
    assert counts == sorted(set(counts))
    assert counts[-1] == total == progress.done
    assert lines[-1].startswith(f"{total:,} of {total:,} rows (100 %), ")


def test_bar_leaves_the_terminal_as_it_was() -> None:
    """The cursor that it hides is shown again by `close`."""
    terminal = Terminal()
    bar = bar_for(10, time.monotonic, terminal)
    bar(4, 10)
    assert "\x1b[?25l" in terminal.getvalue()
    bar.close()
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


def test_a_bar_moves_seldom_and_ends_full() -> None:
    """A step may have many thousand parts: the bar is moved ten times a second, and for the last of them."""
    bar, moves = bar_for(100_000, time.monotonic, Terminal()), list[int]()
    assert isinstance(bar, Bar)
    update = bar._bar.update

    def moving(task: Any, **values: Any) -> None:
        moves.append(values["completed"])
        update(task, **values)

    bar._bar.update = moving  # type: ignore[method-assign]
    for done in range(1, 100_001):
        bar(done, 100_000)
    bar.close()
    assert moves[0] == 1
    assert moves[-1] == 100_000 == bar._bar.tasks[0].completed
    assert len(moves) < 10_000


def test_what_fits_the_stream() -> None:
    """A bar for a terminal, lines for a file, nothing when asked to be quiet; all of them count."""
    assert type(make_progress(1, quiet=True, stream=Terminal())) is Quiet
    assert type(make_progress(1, quiet=False, stream=io.StringIO())) is Lines
    bar = make_progress(1, quiet=False, stream=Terminal())
    bar.close()
    assert type(bar) is Bar


class Counted(StepBar):
    """A bar that says what became of it."""

    seen: list[Any]

    def __call__(self, done: int, total: int) -> None:
        super().__call__(done, total)
        self.seen.append((done, total, self._bar is not None))

    def close(self) -> None:
        super().close()
        self.seen.append("closed")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the bars of steps saw."""
    Counted.seen = []
    monkeypatch.setattr("microbatch.step.bars.StepBar", Counted)
    return Counted.seen


@pytest.mark.counted
def test_true_shows_a_bar_that_goes_when_the_step_ends(seen: list[Any]) -> None:
    """A step in parts has a bar; one that runs whole is over when there would be something to show."""
    terminal = Terminal()
    options: dict[str, Any] = {"num_ubatches": 4, "schedule": "sequential", "progress": True}
    with microbatch.wrap(np.negative, **options) as wrapped, redirect_stderr(terminal):
        wrapped(np.arange(8))
        wrapped(np.arange(1))
    assert seen == [(2, 8, True), (4, 8, True), (6, 8, True), (8, 8, True), "closed", (1, 1, False), "closed"]
    assert "\x1b[?25l" in terminal.getvalue()
    assert terminal.getvalue().count("\x1b[?25h") == 1


@pytest.mark.counted
def test_a_bar_goes_when_its_step_fails(seen: list[Any]) -> None:
    """The terminal is as it was, and the error is the function's own."""

    def fails(x: Any) -> Any:
        if x[0] == 4:
            raise KeyError("row 4")
        return x

    wrapped, terminal = (
        microbatch.wrap(fails, num_ubatches=4, schedule="sequential", progress=True),
        Terminal(),
    )
    with wrapped, redirect_stderr(terminal), pytest.raises(KeyError, match="row 4"):
        wrapped(np.arange(8))
    assert seen[-1] == "closed"
    assert "\x1b[?25h" in terminal.getvalue()


class Handle:
    """What a notebook gives for something that it shows."""

    def __init__(self, first: Any) -> None:
        self.shown = [first]

    def update(self, renderable: Any) -> None:
        """Show it in the place of the one before."""
        self.shown.append(renderable)


def test_a_notebook_shows_the_bar_without_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One output below the cell, which is updated, and has HTML of its own."""
    handles: list[Handle] = []

    class ZMQInteractiveShell:
        """What rich takes for a notebook."""

    def display(first: Any, *, display_id: bool) -> Handle:
        assert display_id
        handles.append(Handle(first))
        return handles[-1]

    part = types.ModuleType("IPython.display")
    part.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", part)
    monkeypatch.setattr("builtins.get_ipython", ZMQInteractiveShell, raising=False)
    bar = bar_for(10, time.monotonic, io.StringIO())
    assert type(bar) is NotebookBar
    bar(4, 10)
    bar(10, 10)
    bar.close()
    (handle,) = handles
    assert len(handle.shown) == 3
    assert "text/html" in handle.shown[-1]._repr_mimebundle_(include=(), exclude=())
