"""Progress says each tenth once, and a bar moves seldom."""

from __future__ import annotations

import io
import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from microbatch.cli.progress import Bar, Lines, Quiet, make_progress


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
    progress = Lines(total, stream)
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
    bar = Bar(10, terminal)
    bar(4, 10)
    assert "\x1b[?25l" in terminal.getvalue()
    bar.close()
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")


def test_a_bar_moves_seldom_and_ends_full() -> None:
    """A step may have many thousand parts: the bar is moved ten times a second, and for the last of them."""
    bar, moves = Bar(100_000, Terminal()), list[int]()
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
