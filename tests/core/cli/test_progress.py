"""Progress never goes back, and says each tenth once."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from microbatch.cli.progress import Bar, Lines, Quiet, make_progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40), data=st.data())
def test_lines(sizes: list[int], data: st.DataObject) -> None:
    """Whatever order the calls come in: at most ten lines, counts that grow, the last one for all rows."""
    total = sum(sizes)
    calls = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    stream = io.StringIO()
    progress = Lines(total, stream)
    for done in data.draw(st.permutations(calls)):
        progress(done, total)
    lines = stream.getvalue().splitlines()
    counts = [int(line.split(" of ")[0].replace(",", "")) for line in lines]
    assert 1 <= len(lines) <= 10
    assert counts == sorted(set(counts))
    assert counts[-1] == total == progress.done
    assert lines[-1].startswith(f"{total:,} of {total:,} rows (100 %), ")


def test_bar_leaves_the_terminal_as_it_was() -> None:
    """The cursor that it hides is shown again, by `close` and by `restore`."""
    terminal = Terminal()
    bar = Bar(10, terminal)
    bar(4, 10)
    assert "\x1b[?25l" in terminal.getvalue()
    bar.close()
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l")
    written = len(terminal.getvalue())
    bar.restore()
    assert "\x1b[?25h" in terminal.getvalue()[written:]


def test_what_fits_the_stream() -> None:
    """A bar for a terminal, lines for a file, nothing when asked to be quiet; all of them count."""
    assert type(make_progress(1, quiet=True, stream=Terminal())) is Quiet
    assert type(make_progress(1, quiet=False, stream=io.StringIO())) is Lines
    bar = make_progress(1, quiet=False, stream=Terminal())
    bar.close()
    assert type(bar) is Bar
