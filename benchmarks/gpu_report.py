"""What a run of `python -m benchmarks gpu --all` prints: a line a part as it ends, and a table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.gpu_answers import Answer
from benchmarks.table import Row

__all__ = ["line_of", "show_all"]

SHORT = 400
"""Characters of a reason that are printed; the file has all."""


def line_of(answer: Answer) -> str:
    """One part in one line."""
    return (
        f"{answer.part}: {answer.state} in {answer.seconds:.0f} of {answer.limit:.0f} s {_why(answer)[:120]}"
    )


def show_all(answers: Sequence[Answer], facts: Mapping[str, Any]) -> None:
    """Print every figure, under the name of the card."""
    card = facts.get("card", "no device")
    versions = ", ".join(f"{name} {facts[name]}" for name in ("torch", "cupy", "python") if name in facts)
    table = Table(title=f"{card} ({versions})" if versions else card, title_justify="left")
    for column in ("part", "what", "against", "aim", "measured", "so"):
        table.add_column(column, overflow="fold")
    for answer in answers:
        for cells in _lines(answer):
            table.add_row(*map(escape, cells))
    Console(width=170).print(table)


def _lines(answer: Answer) -> list[tuple[str, ...]]:
    if not answer.rows:
        return [(answer.part, _why(answer), "", "", "", answer.state)]
    return [
        (answer.part, row.work, row.against, row.aim, row.measured, _so(answer, row)) for row in answer.rows
    ]


def _so(answer: Answer, row: Row) -> str:
    if answer.state == "rehearsed":
        return answer.state
    return "reached" if row.reached else "MISSED"


def _why(answer: Answer) -> str:
    return " ".join(answer.text[:SHORT].split())
