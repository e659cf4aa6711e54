"""What a part of the campaign is, what one case of it found, and what all of its cases came to.

Invariant: all of these are plain data that survive JSON, as cases run in another process than the one that
counts them. A case is known by the seed, the part's name and its number: these three draw it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One idea of how to attack, and how much of it is asked for."""

    name: str
    """What `--only` calls it; its module is `tests.campaign.NAME` unless `module` says otherwise."""
    what: str
    """What it does, for the table."""
    unit: str
    """What is counted, such as `steps`; one case may do several."""
    full: int
    """Units of the full form."""
    short: int
    """Units of the short form, which the normal test suite runs."""
    limit: float = 60.0
    """Seconds that one case may be silent before it counts as hung."""
    needs: str = ""
    """A package without which it is left out."""
    module: str = ""
    """Where its `case` is."""

    @property
    def place(self) -> str:
        """The module that holds its `case`."""
        return self.module or f"tests.campaign.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one case did, and what was wrong."""

    units: Mapping[str, int]
    """How many of each thing were done; the part's own unit is among them."""
    failures: tuple[str, ...] = ()
    """One text for each promise that was not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failure and how to see it again."""

    part: str
    """The name of the part."""
    seed: int
    """The seed of the campaign."""
    number: int
    """The number of the case."""
    text: str
    """What was wrong."""

    def __str__(self) -> str:
        alone = f"python -m tests.campaign --only {self.part} --seed {self.seed} --case {self.number}"
        return f"{self.part}, case {self.number}: {self.text}\n  alone: {alone}"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What all cases of one part came to."""

    part: Part
    """The part."""
    seed: int
    """The seed of the campaign."""
    seconds: float = 0.0
    """How long it took."""
    units: dict[str, int] = field(default_factory=dict)
    """How many of each thing were done."""
    failures: list[Failure] = field(default_factory=list)
    """What was wrong."""

    def add(self, number: int, found: Found) -> None:
        """Count one case."""
        for unit, count in found.units.items():
            self.units[unit] = self.units.get(unit, 0) + count
        self.failures += [
            Failure(part=self.part.name, seed=self.seed, number=number, text=text) for text in found.failures
        ]

    @property
    def done(self) -> int:
        """Units of the part's own kind that were done."""
        return self.units.get(self.part.unit, 0)


def draw_of(seed: int, part: str, number: int) -> Random:
    """Draws one case; the same on every machine and every version of Python."""
    return Random(f"{seed} {part} {number}")
