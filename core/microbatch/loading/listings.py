"""A listing as it shows in Python: a tuple of lines whose text is a table.

Invariant: it is a tuple like any other; only how it is shown is its own. Columns with nothing in them are
left out, as on the command line.
"""

from __future__ import annotations

from microbatch.loading.listing import Listing

COLUMNS = ("name", "available", "distribution", "priority", "summary", "reason", "remedy")
"""Fields that are shown; the first one always."""
WIDEST = 60
"""Characters of a cell in text; a notebook shows all."""


class Listings(tuple[Listing, ...]):
    """Lines of `backends()`, `policies()` or `plugins()`."""

    __slots__ = ()

    def __repr__(self) -> str:
        rows = [[_short(cell) for cell in row] for row in self._cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        from html import escape

        head, *body = self._cells()
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
        return f"<table><tr>{''.join(f'<th>{title}</th>' for title in head)}</tr>{rows}</table>"

    def _cells(self) -> list[list[str]]:
        """A line of titles, then one a line."""
        columns = {title: [_cell(getattr(line, title)) for line in self] for title in COLUMNS}
        shown = [title for title, cells in columns.items() if title == COLUMNS[0] or any(cells)]
        return [shown, *map(list, zip(*(columns[title] for title in shown), strict=True))]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else " ".join(str(value).split())


def _short(cell: str) -> str:
    return cell if len(cell) <= WIDEST else f"{cell[: WIDEST - 3]}..."
