"""What can be measured, and what of it may run: sizes by their exponent of two, and the whole batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

WHOLE = 1 << 20
"""The arm of the uncut batch; larger than any exponent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Which arms a step may run."""

    low: int
    """Least exponent."""
    high: int
    """Largest exponent."""
    whole: bool
    """Whether the whole batch may run uncut."""

    def sizes(self, arms: Iterable[int]) -> list[int]:
        """Those of `arms` that are sizes of parts and may run."""
        return [arm for arm in arms if self.low <= arm <= self.high]
