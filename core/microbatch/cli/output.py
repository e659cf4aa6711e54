"""Tables for people, JSON for programs.

Invariant: nothing is cut off. On a terminal long cells are folded between words, and columns that find no
room are written under their row; in a pipe a row is one line, however long, so that `grep` and `cut` see all
of it. Text of third parties is shown as text: no markup (`microbatch[torch]` keeps its brackets) and no
control characters.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["one_line", "print_json", "print_table", "print_text"]

_WIDEST = 100_000
"""Columns of a pipe; wider than any row."""


def print_json(value: Any) -> None:
    """Write records, mappings and sequences as indented JSON; the fields of a record are the keys."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    under: Collection[str] = (),
    numbers: Collection[str] = (),
) -> None:
    """Write aligned columns, those titled `numbers` to the right; a column with nothing in it is left out.

    On a terminal too narrow for one line a row, the columns `under` stand below their row, each with its
    title.
    """
    from rich.console import Console

    cells = [[one_line(cell) for cell in row] for row in rows]
    kept = [index for index in range(len(titles)) if any(row[index] for row in cells) or not index]
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, emoji=False, width=None if terminal else _WIDEST)
    wide = sum(
        max(len(cell) for cell in (titles[index], *(row[index] for row in cells))) + 2 for index in kept
    )
    below = [index for index in kept if terminal and wide > console.width + 2 and titles[index] in under]
    beside = [index for index in kept if index not in below]
    with console.capture() as written:
        if below:
            _print_stacked(console, titles, cells, beside, below)
        else:
            _print_columns(console, titles, cells, beside, numbers)
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


def _print_columns(
    console: Console,
    titles: Sequence[str],
    cells: Sequence[Sequence[str]],
    beside: Sequence[int],
    numbers: Collection[str],
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index in beside:
        side: Literal["right", "left"] = "right" if titles[index] in numbers else "left"
        table.add_column(titles[index], overflow="fold", justify=side)
    for row in cells:
        table.add_row(*(row[index] for index in beside))
    console.print(table)


def _print_stacked(
    console: Console,
    titles: Sequence[str],
    cells: Sequence[Sequence[str]],
    beside: Sequence[int],
    below: Sequence[int],
) -> None:
    """A table of one row each, of the same widths, with the columns `below` as lines under it."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    widths = [max(len(row[index]) for row in (titles, *cells)) for index in beside]
    widths[-1] = max(12, min(widths[-1], console.width - sum(widths[:-1]) - 2 * len(widths)))
    for row in (titles, *cells):
        table = Table.grid(padding=(0, 2, 0, 0))
        for width in widths:
            table.add_column(width=width, overflow="fold", style="bold" if row is titles else "")
        table.add_row(*(row[index] for index in beside))
        console.print(table)
        for index in below:
            if row is not titles and row[index]:
                console.print(Padding(Text(f"{titles[index]}: {row[index]}"), (0, 0, 0, 4)))


def one_line(text: str) -> str:
    """`text` on one line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
