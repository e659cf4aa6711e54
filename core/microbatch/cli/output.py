"""Tables for people, JSON for programs.

Invariant: nothing is cut off. On a terminal long cells are folded; in a pipe a row is one line, however long, so that
`grep` and `cut` see all of it. Text of third parties is shown as text: no markup (`microbatch[torch]` keeps its
brackets) and no control characters.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import msgspec

__all__ = ["one_line", "print_json", "print_table"]

_WIDEST = 100_000
"""Columns of a pipe; wider than any row."""


def print_json(value: Any) -> None:
    """Write records, mappings and sequences as indented JSON; records become objects with their fields as keys."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Collection[str] = ()
) -> None:
    """Write aligned columns, those titled `numbers` to the right; a column that is empty in all rows is left out."""
    from rich.console import Console
    from rich.table import Table

    cells = [[one_line(cell) for cell in row] for row in rows]
    kept = [index for index in range(len(titles)) if any(row[index] for row in cells) or not index]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index in kept:
        side: Literal["right", "left"] = "right" if titles[index] in numbers else "left"
        table.add_column(titles[index], overflow="fold", justify=side)
    for row in cells:
        table.add_row(*(row[index] for index in kept))
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, emoji=False, width=None if terminal else _WIDEST)
    console.print(table)


def one_line(text: str) -> str:
    """`text` on one line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
