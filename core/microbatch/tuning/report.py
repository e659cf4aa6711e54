"""What tuning measured, and the size to use, as a record and as a table.

Invariant: the table shows only what the record holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microbatch.extend.records import unit_label

MIB = 1 << 20


def rate_label(unit: str) -> str:
    """What is counted by the second; of packed parts the rows, as units of padding are no work done."""
    return "tokens/s" if unit == "tokens" else "rows/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunePoint:
    """One size."""

    size: int
    """Units of a part."""
    rows: int
    """Rows in the part that was measured; tokens where those are the unit."""
    seconds: float
    """The fastest of its calls."""
    rows_per_second: float
    """Rows by that time."""
    peak_bytes: int | None
    """Highest memory above the start; None where the backend does not tell."""
    predicted_bytes: int | None
    """What the peaks before it said it would need at most, margin included; None for the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """What was measured, and the size to use; prints as a table. Its fields are the keys of `--json`."""

    points: tuple[TunePoint, ...]
    """Sizes in the order of measuring, smallest first."""
    chosen: int
    """The smallest size within 5 % of the best throughput."""
    unit: str
    """What sizes are counted in: rows, tokens, or cost (longest row times rows of a part)."""
    reason: str
    """Why that size."""
    stopped: str
    """Why no larger size was measured."""
    budget_bytes: int
    """Memory that no part may exceed."""
    workers: int = 1
    """Parts that a step runs at the same time; each was measured with the threads of one of so many."""

    def __str__(self) -> str:
        lines = [*self._table(), "", self.reason, f"stopped: {self.stopped}"]
        if self.workers > 1:
            measured = f"measured as one of {self.workers} workers runs a part"
            lines.append(f"{measured}; a step runs that many at the same time")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        from html import escape

        cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self._rows()]
        rows = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table>{rows}</table><p>{escape(self.reason)}<br>stopped: {escape(self.stopped)}</p>"

    def _table(self) -> list[str]:
        return _aligned(self._rows())

    def _rows(self) -> Sequence[tuple[str, ...]]:
        size, rate = f"size ({unit_label(self.unit)})", rate_label(self.unit)
        rows = [
            (
                f"{point.size:,}",
                f"{point.rows_per_second:,.0f}",
                _mebibytes(point.peak_bytes),
                _mebibytes(point.predicted_bytes),
                "chosen" if point.size == self.chosen else "",
            )
            for point in self.points
        ]
        return [(size, rate, "peak memory", "predicted bound", ""), *rows]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with each column to the right; a column with nothing under its title is left out."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def _mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / MIB:,.1f} MiB"
