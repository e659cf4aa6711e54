"""Races as a record and as text for people: both places, and the wait that is missing.

Invariant: one entry for each pair of places, however often and in however many bytes they met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microbatch.testing.recording.checker import Race, remedy_of
from microbatch.testing.recording.trace import TraceEntry

OUTSIDE = "outside of the function: the caller, who goes on with the result"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two accesses."""

    does: str
    """`writes`, `reads`, or `reuses` for memory that was dropped and given to somebody else."""
    operation: str
    """The operation."""
    place: str
    """file:line of the call."""
    stream: str
    """The stream that it is on."""

    def __str__(self) -> str:
        return f"{self.place}: {self.operation} {self.does} it on stream {self.stream!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unordered:
    """Two accesses to the same memory, at least one a write, that nothing orders."""

    first: Side
    """The one launched first."""
    second: Side
    """The one that should have waited."""
    missing: str
    """What would order them."""
    times: int
    """How often it was seen."""

    def __str__(self) -> str:
        often = "" if self.times == 1 else f"\n   seen {self.times} times"
        return f"{self.first}\n   {self.second}\n   missing: {self.missing}{often}"


def unordered(races: Sequence[Race], returned: int | None = None) -> tuple[Unordered, ...]:
    """The pairs of places in `races`, in the order in which they were first seen.

    `returned` is how many entries the trace had when the function returned; what came later is the caller's.
    """
    found: dict[tuple[Side, Side], list[Race]] = {}
    for race in races:
        outside = returned is not None and race.second_index >= returned
        sides = _side(race.first, race.first_writes), _side(race.second, race.second_writes, outside)
        found.setdefault(sides, []).append(race)
    return tuple(
        Unordered(
            first=first, second=second, missing=remedy_of(same[0].first, same[0].second), times=len(same)
        )
        for (first, second), same in found.items()
    )


def _side(entry: TraceEntry, writes: bool, outside: bool = False) -> Side:
    does = "reuses" if entry.kind == "alloc" else "writes" if writes else "reads"
    place, stream = "" if outside else entry.place, str(entry.stream or "host")
    return Side(does=does, operation=entry.label, place=place or OUTSIDE, stream=stream)
