"""What became of the parts of `python -m benchmarks gpu --all`, and the one file that it is written to.

Invariant: the file is whole at any time: a new one is written beside it and takes its name. It names every
part from the beginning, so that a run that was stopped shows what did not run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.table import Row

__all__ = ["BAD", "Answer", "State", "answer_of", "write", "write_whole"]

State = Literal[
    "waiting", "reached", "missed", "rehearsed", "failed", "hung", "killed", "no device", "skipped"
]
"""What became of a part: its turn has not come; it ran, and its figures are as promised, or not, or are times
of a simulated device; it raised; it ended by its limit of time, or by a signal; its framework has no device;
what it needs is not installed."""
BAD: tuple[State, ...] = ("missed", "failed", "hung", "killed")
"""States that the exit status tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one part came to."""

    part: str
    """Its name."""
    limit: float
    """Seconds that it may take."""
    state: State = "waiting"
    """What became of it."""
    seconds: float = 0.0
    """Seconds that it took."""
    text: str = ""
    """Why, where it is not `reached`."""
    rows: tuple[Row, ...] = ()
    """Its figures."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What later parts go by: the card, and why a framework has no device."""


def answer_of(text: str) -> dict[str, Any]:
    """Fields of an answer, from the JSON that a part wrote; ValueError where it is no such thing."""
    said = json.loads(text)
    try:
        return {
            "state": said["state"],
            "text": str(said.get("text", "")),
            "rows": tuple(Row(**row) for row in said.get("rows", ())),
            "facts": dict(said.get("facts", {})),
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"this is no answer of a part: {text[:80]}") from error


def write(path: Path, answers: Sequence[Answer], facts: dict[str, Any]) -> None:
    """Everything that is known so far."""
    write_whole(path, json.dumps({**facts, "parts": [asdict(answer) for answer in answers]}, indent=1))


def write_whole(path: Path, text: str) -> None:
    """Let `path` hold `text`, and at no time less than the whole of something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
