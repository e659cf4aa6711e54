"""What was compared so far: the best size, and how much slower others are.

Invariant: a size is compared with the windows of the best size just before it, so that load which comes and
goes changes both. The fastest of the last three comparisons counts: a size that was taken wrongly is soon
left again, and one that was measured cold is not lost. Rejected: the median of them, with which 8 million
options stayed at 16,384 rows and 120 ms for all of ten steps, where 65,536 take 75 ms.
"""

from __future__ import annotations

from math import inf

from microbatch.sizing.pace_bounds import PaceBounds

KEPT = 3
"""Comparisons of a size that are kept, the latest."""
NEAR = 1.03
"""Factor of the best up to which a smaller size is taken; growing must gain as much."""
YOUNG, BESIDE = 3, 16
"""Every so many windows one has a size beside the best: each third until these were compared three times."""
FAR, TOO_FAR, SELDOM = 1.3, 2.2, 8
"""Factor of the best from which a size beside it is looked at so many times less often, not never; after one
comparison already where it is too far."""
RISING = 1.1
"""Factor by which a size was faster than half of it, from which a window of the next one may take two fifths
of the step, and not a tenth: one of 1,024 rows took two thirds of a step of 16,384 that is best with 256."""
STEEP = 1.3
"""Factor by which a size was faster than half of it, from which four times as many units are tried next."""


class Compared:
    """The sizes of one step."""

    __slots__ = ("_affordable", "_bounds", "_last", "_ratios", "_windows", "base", "best")

    def __init__(self, bounds: PaceBounds, affordable: float = inf) -> None:
        """`affordable` is the size of which a window takes a tenth of the step."""
        self._bounds = bounds
        self._affordable = affordable
        self.best = bounds.start
        """The best size so far."""
        self.base = 0.0
        """Seconds per unit in the better one of its last two windows; 0 before the first."""
        self._last = inf
        """In the last one."""
        self._ratios: dict[int, tuple[float, ...]] = {}
        """Size -> seconds per unit against the best size, in its last comparisons."""
        self._windows = 0

    def next_size(self, size: int, seconds_per_unit: float) -> int:
        """The size of the window after one of `size`: one that is to be compared, or the best."""
        self._windows += 1
        if size == self.best:
            self.base, self._last = min(seconds_per_unit, self._last), seconds_per_unit
        elif self.base:
            self._ratios[size] = (*self._ratios.get(size, ()), seconds_per_unit / self.base)[-KEPT:]
            self._move()
        return self._unknown() or self._beside() or self.best

    def found(self) -> tuple[tuple[int, float], ...]:
        """(units, seconds per unit) of each comparison that is kept, in order of the units."""
        if not self.base:
            return ()
        ratios = self._ratios | {self.best: (1.0,)}
        return tuple([(size, self.base * ratio) for size in sorted(ratios) for ratio in ratios[size]])

    def _against_best(self) -> dict[int, float]:
        return {size: min(each) for size, each in self._ratios.items()} | {self.best: 1.0}

    def _move(self) -> None:
        """Make the smallest size that is near the fastest the best one."""
        ratios = self._against_best()
        best = min(size for size, ratio in ratios.items() if ratio <= NEAR * min(ratios.values()))
        if best == self.best:
            return
        # One window may have been far too slow: what then seems very far from the new best size would not be
        # compared again, so nothing is moved farther than `FAR` at once.
        factor = max(ratios[best], 1 / FAR)
        self._ratios[self.best] = (1.0,)
        self._ratios = {
            size: tuple([ratio / factor for ratio in each])
            for size, each in self._ratios.items()
            if size != best
        }
        self.best, self.base, self._last = best, self.base * ratios[best], inf

    def _unknown(self) -> int | None:
        """A size to compare for the first time: next to those that are as good as the best."""
        ratios = self._against_best()
        good = max(size for size, ratio in ratios.items() if ratio <= NEAR)
        steep = ratios.get(good // 2, 1.0) >= STEEP and 2 * good not in ratios
        up = min(4 * good if steep else 2 * good, max(2 * good, self._bounds.most))
        edges = up, 2 * self.best, self.best // 2
        most = self._affordable
        if ratios.get(good // 2, 1.0) >= RISING:
            most *= 4
        return next((size for size in edges if self._may_try(size, most) and size not in ratios), None)

    def _may_try(self, size: int, most: float) -> bool:
        """Whether a size is allowed, and not so large that to look at it costs more than it may gain."""
        return self._bounds.allow(size) and (size < self.best or size <= most)

    def _beside(self) -> int | None:
        """A size beside the best, where it is the turn of one; of a young one it is more often."""
        sizes = [size for size in (2 * self.best, self.best // 2) if size in self._ratios]
        young = any(len(each := self._ratios[size]) < KEPT and min(each) < TOO_FAR for size in sizes)
        turn, rest = divmod(self._windows, YOUNG if young else BESIDE)
        if rest or not sizes:
            return None
        size = sizes[turn % len(sizes)]
        ratios = self._ratios[size]
        far = min(ratios) > (FAR if len(ratios) >= KEPT else TOO_FAR)
        return None if far and turn % SELDOM >= len(sizes) else size
