"""Rows of a benchmark table, printed for people and written as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure and what it was promised to be."""

    work: str
    """What ran."""
    against: str
    """What it is compared with, measured in the same rounds."""
    aim: str
    """The promise, as text."""
    measured: str
    """The figure, as text."""
    reached: bool
    """Whether the figure keeps the promise."""
    details: dict[str, Any] = field(default_factory=dict)
    """Medians and choices behind the figure."""


def ratio_row(
    work: str,
    against: str,
    *,
    at_least: float,
    base: float,
    ours: float,
    details: dict[str, Any] | None = None,
) -> Row:
    """A row for "ours is `at_least` times faster than base"; both in seconds of the same rounds."""
    ratio = base / ours
    numbers = {"base_ms": round(base * 1e3, 3), "ours_ms": round(ours * 1e3, 3), **(details or {})}
    return Row(
        work=work,
        against=against,
        aim=f">= {at_least:g}x",
        measured=f"{ratio:.2f}x",
        reached=ratio >= at_least,
        details=numbers,
    )


def skipped_row(work: str, against: str, why: str) -> Row:
    """A row that could not be measured here: one sentence says why, and no promise is broken."""
    return Row(work=work, against=against, aim="", measured="skipped", reached=True, details={"why": why})


def show(title: str, rows: Sequence[Row], path: Path | None = None) -> None:
    """Print the table, and write it as JSON where a path is given."""
    table = Table(title=title, title_justify="left")
    for column in ("work", "against", "aim", "measured", "reached", "details"):
        table.add_column(column, overflow="fold")
    for row in rows:
        details = ", ".join(f"{key} {value}" for key, value in row.details.items())
        table.add_row(row.work, row.against, row.aim, row.measured, "yes" if row.reached else "NO", details)
    Console(width=150).print(table)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1))
