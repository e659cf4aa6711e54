"""Tables for people, JSON for programs.

Invariant: nothing is cut off. On a terminal long cells are folded between words, and columns that find no
room are written under their row; in a pipe a row is one line, however long, so that `grep` and `cut` see all
of it. Text of third parties is shown as text: no markup (`microbatch[torch]` keeps its brackets) and no
control characters.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

WIDEST = 100_000
"""Characters of a line in a pipe; wider than any row."""
Columns = Mapping[str, Sequence[str]]
"""Title to the cells under it."""


@contextmanager
def only_json(json: bool) -> Iterator[TextIO]:
    """Gives standard output as it is; with `json`, whatever else is written to it goes to standard error.

    So does what compiled code and processes of the target's write to descriptor 1.
    """
    out = sys.stdout
    if not json:
        yield out
        return
    kept = _kept_descriptor(out)
    sys.stdout = sys.stderr
    with ExitStack() as stack:
        own = out if kept is None else stack.enter_context(os.fdopen(kept, "w", encoding="utf-8"))
        try:
            yield own
        finally:
            sys.stdout = out
            if kept is not None:
                own.flush()
                os.dup2(kept, 1)


def _kept_descriptor(out: TextIO) -> int | None:
    """A copy of descriptor 1, which is that of standard error from here on; None where `out` is not it."""
    try:
        if out.fileno() != 1:
            return None
        out.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError):
        return None
    return kept


def print_json(value: Any, out: TextIO | None = None) -> None:
    """Write records, mappings and sequences as indented JSON; the fields of a record are the keys."""
    (out or sys.stdout).write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, under: Sequence[str] = ()) -> None:
    """Write aligned columns; a column with nothing in it is left out.

    On a terminal too narrow for one line a row, the columns `under` stand below their row, each with its
    title.
    """
    from rich.console import Console

    cells = [[one_line(cell) for cell in row] for row in rows]
    columns = {title: [row[index] for row in cells] for index, title in enumerate(titles)}
    columns = {title: column for title, column in columns.items() if any(column) or title == titles[0]}
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, emoji=False, width=None if terminal else WIDEST)
    narrow = terminal and sum(width + 2 for width in _widths(columns)) > console.width + 2
    below = {title: columns.pop(title) for title in under if narrow and title in columns}
    with console.capture() as written:
        if below:
            _print_stacked(console, columns, below)
        else:
            _print_columns(console, columns)
    sys.stdout.write("".join(f"{line.rstrip(' ')}\n" for line in written.get().splitlines()))


def print_text(text: str) -> None:
    """Write lines; on a terminal long ones are folded between words, and what is continued is set in."""
    if not sys.stdout.isatty():
        sys.stdout.write(f"{text}\n")
        return
    width = max(20, shutil.get_terminal_size().columns)
    for line in text.splitlines():
        inset = " " * (len(line) - len(line.lstrip()) + 4)
        wrapped = textwrap.wrap(line, width, subsequent_indent=inset, break_on_hyphens=False)
        sys.stdout.write("\n".join(wrapped or [""]) + "\n")


def _widths(columns: Columns) -> list[int]:
    return [max(map(len, (title, *cells))) for title, cells in columns.items()]


def _print_columns(console: Console, columns: Columns) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in columns:
        table.add_column(title, overflow="fold")
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console.print(table)


def _print_stacked(console: Console, beside: Columns, below: Columns) -> None:
    """A table of one row each, of the same widths, with the columns `below` as lines under it."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    *widths, last = _widths(beside)
    widths.append(max(12, min(last, console.width - sum(widths) - 2 * len(widths) - 2)))
    for number, row in enumerate([tuple(beside), *zip(*beside.values(), strict=True)]):
        table = Table.grid(padding=(0, 2, 0, 0))
        for width in widths:
            table.add_column(width=width, overflow="fold", style="" if number else "bold")
        table.add_row(*row)
        console.print(table)
        for title, cells in below.items():
            if number and cells[number - 1]:
                console.print(Padding(Text(f"{title}: {cells[number - 1]}"), (0, 0, 0, 4)))


def one_line(text: str) -> str:
    """`text` on one line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
