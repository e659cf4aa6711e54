"""What was tried and what ran out of memory: the largest size that fits and the smallest that does not.

Invariant: a failure expires. A size that failed during a squeeze would otherwise hold the steps at half of
what fits for ever (deepmd-kit does so). Each failure that comes back doubles the time it is believed, so a
bound that keeps proving true costs ever less.
"""

from __future__ import annotations

from microbatch_policies.memory.constants import GAP, GROWN, LIFE, LONGEST


class Bracket:
    """`fits` and `fails` in units in flight; 0 where not known."""

    __slots__ = ("_budget", "_life", "_until", "fails", "fits")

    def __init__(self) -> None:
        self.fits = 0
        self.fails = 0
        self._life = LIFE // 2
        self._until = -1
        self._budget = 0.0

    def fit(self, x: int) -> None:
        """Size `x` ran."""
        self.fits = max(self.fits, x)
        if 0 < self.fails <= x:
            self.fails = 0

    def fail(self, x: int, step: int, budget: float | None) -> None:
        """Size `x` ran out of memory at `step`, when `budget` bytes were thought to be there."""
        # one that fails again within its life after it was forgiven is believed for twice as long
        soon = step <= self._until + self._life
        self._life = min(LONGEST, self._life * 2) if soon or self._until < 0 else LIFE
        self.fails = min(x, self.fails) if self.fails else x
        if self.fits >= x:
            self.fits = 0  # it ran when there was more memory, and says nothing of now
        self._until = step + self._life
        self._budget = budget or 0.0

    def limit(self, step: int, budget: float | None) -> int | None:
        """The largest size to try now; None when no failure is known (any more).

        Halfway between what fits and what fails until they are within 5 %; half of what fails where nothing
        is known to fit.
        """
        if not self.fails:
            return None
        grown = budget is not None and self._budget > 0 and budget > self._budget * GROWN
        if step > self._until or grown:
            self.fails = 0
            return None
        if self.fits <= 0:
            return max(1, self.fails // 2)
        if self.fails <= self.fits * GAP or self.fails - self.fits < 2:
            return self.fits
        return (self.fits + self.fails) // 2
