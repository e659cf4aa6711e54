"""How large the next part of a step shall be, as the times of the parts before it say.

A step has dozens of parts, and each is a measurement: so the first call of a new kind finds its size while it
runs. From a size that is rather small it goes down and up by doublings until the median of three times a unit
is worse there, and then stays at the smallest size that is within 3 % of the best. Now and then a part is one
of a size beside that, since load comes and goes. Later steps begin with the times of the one before. The last
parts are smaller, so that all workers end together.

Invariant: sizes are within the bounds, and the same times give the same sizes. All is worked out from the
times when the next size is asked for: threads share one dictionary, and a time that two of them write at once
is a time less, so nothing is locked. Rejected: a search over calls alone, whose first calls are slow (18
times for a function with 1 MiB of intermediates a row); the least time of a size, since a part that has both
cores and Python's lock for itself by chance takes a third of the others' time.
"""

from __future__ import annotations

from dataclasses import dataclass

TIMES = 3
"""Times of a size before it is compared."""
KEPT = 15
"""Times of a size that are kept, the latest. With 5, three slow ones moved the size now and then, where one
part in ten is slow, and it took hundreds of parts to come back."""
NEAR = 1.03
"""Factor of the best up to which a smaller size is taken; growing must gain as much."""
YOUNG, BESIDE = 4, 32
"""Every so many parts one has a size beside the best: each fourth until these have `KEPT` times, so that a
size that was timed while others used the machine is not lost. Of 200 simulated steps with noise, one in
twenty then ended more than 11 % above the best size (8: 14 %, 32: 28 %). At twice the time a row, one in 32
costs 3 %."""
FAR, SELDOM = 1.5, 8
"""Factor of the best from which a size beside it is looked at so many times less often; not never, as it may
have been timed while others used the machine."""
PARTS = 32
"""No part has more than this part of the batch."""
LAST = 4
"""The last parts are down to this part of the size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceBounds:
    """Where a pace begins, and what holds for all of its parts but the last ones. All are powers of two."""

    start: int
    """Units of the first parts."""
    least: int
    """Fewest units of a part, at most `start`."""
    most: int
    """Most units of a part, at least `start`."""
    known: tuple[tuple[int, float], ...] = ()
    """(units, seconds per unit) of sizes that earlier steps have timed, and that need not be tried anew."""


class Pace:
    """The pace of one step; parts may end in several threads at the same time."""

    __slots__ = ("_asked", "_bounds", "_ended", "_times", "_workers")

    def __init__(self, bounds: PaceBounds, workers: int) -> None:
        """`workers` run parts at the same time."""
        self._bounds = bounds
        self._workers = workers
        self._times: dict[int, tuple[float, ...]] = {
            size: (each,) * KEPT for size, each in bounds.known if self._within(size)
        }
        """Size -> seconds per unit of its last parts."""
        self._asked = 0
        self._ended = 0

    def size(self, left: int) -> int:
        """Units of the next part where `left` units are not planned yet."""
        self._asked += 1
        size = self._next()
        share = max(-(-left // self._workers), size // LAST, 1)
        return min(size, share, left)

    def ran(self, units: int, seconds: float) -> None:
        """A part of so many units has ended after `seconds`."""
        self._ended += 1
        if self._ended > self._workers:  # the first part on each worker is cold
            self._times[units] = (*self._times.get(units, ()), seconds / units)[-KEPT:]

    def found(self) -> tuple[tuple[int, float], ...]:
        """(units, seconds per unit of one part) for each size that was timed often enough."""
        return tuple(sorted(self._timed().items()))

    def _next(self) -> int:
        """The size that is measured next, or the best one."""
        timed = self._timed()
        if not timed:
            return self._bounds.start
        best = min(timed.values())
        good = [each for each, seconds in timed.items() if seconds <= best * NEAR]
        size = min(good)
        for edge in (size // 2, 2 * max(good)):
            if edge not in timed and self._within(edge):
                return edge
        beside = [each for each in (2 * size, size // 2) if each in timed]
        return self._beside(beside, timed, best) or size

    def _beside(self, sizes: list[int], timed: dict[int, float], best: float) -> int | None:
        """One of the sizes beside the best, where it is the turn of one; of a new one it is more often."""
        young = any(len(self._times[each]) < KEPT for each in sizes)
        turn, rest = divmod(self._asked, YOUNG if young else BESIDE)
        if rest or not sizes:
            return None
        other = sizes[turn % len(sizes)]
        return other if timed[other] <= FAR * best or turn % SELDOM < len(sizes) else None

    def _within(self, size: int) -> bool:
        return self._bounds.least <= size <= self._bounds.most

    def _timed(self) -> dict[int, float]:
        """Size -> seconds per unit, of the powers of two that were timed often enough.

        The second of three times, the sixth of fifteen: what disturbs a part mostly adds to its time. The
        last parts of a step have other sizes.
        """
        return {
            size: sorted(times)[len(times) // 3]
            for size, times in self._times.copy().items()  # one operation
            if len(times) >= TIMES and not size & (size - 1)
        }
