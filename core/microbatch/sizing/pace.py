"""How large the next part of a step shall be, as the times of the parts before it say.

A step has dozens of parts, and each is a measurement: so the first call of a new kind finds its size while it
runs. From a size that is rather small it goes down and up by doublings until the median of three times a unit
is worse there, and then stays at the smallest size that is within 3 % of the best. Now and then a part is one
of a size beside that, since load comes and goes. Later steps begin with the times of the one before. The last
parts are smaller, so that all workers end together.

Invariant: sizes are within the bounds, and the same times give the same sizes. What the times say is worked
out when a part has ended: threads share two dictionaries, and a time that two of them write at once is a time
less, so nothing is locked. Rejected: a search over calls alone, whose first calls are slow (18
times for a function with 1 MiB of intermediates a row); the least time of a size, since a part that has both
cores and Python's lock for itself by chance takes a third of the others' time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    fewest: int = 1
    """No part has fewer units than this, also of the last ones, unless the batch has; any number."""
    known: tuple[tuple[int, float], ...] = ()
    """(units, seconds per unit) of sizes that earlier steps have timed, and that need not be tried anew."""

    def above(self, units: int) -> PaceBounds:
        """The same with no part below `units`; as they are where a part may not have so many."""
        least = max(self.least, 1 << (units - 1).bit_length())
        if least > self.most:
            return self
        return replace(self, fewest=units, least=least, start=max(self.start, least))


class Pace:
    """The pace of one step; parts may end in several threads at the same time."""

    __slots__ = ("_asked", "_beside", "_bounds", "_ended", "_size", "_timed", "_times", "_workers")

    def __init__(self, bounds: PaceBounds, workers: int) -> None:
        """`workers` run parts at the same time."""
        self._bounds = bounds
        self._workers = workers
        self._times: dict[int, tuple[float, ...]] = {
            size: (each,) * KEPT for size, each in bounds.known if self._within(size)
        }
        """Size -> seconds per unit of its last parts."""
        self._timed = {size: middle(times) for size, times in self._times.items() if not size & (size - 1)}
        """Size -> seconds per unit, of the powers of two that were timed often enough; the last parts of a
        step have other sizes."""
        self._asked = 0
        self._ended = 0
        self._size = bounds.start
        """The size that is measured next, or the best one."""
        self._beside: tuple[int, ...] = ()
        """Sizes beside it, where it is the best one."""
        if self._timed:
            self._choose()

    def size(self, left: int) -> int:
        """Units of the next part where `left` units are not planned yet."""
        self._asked += 1
        size = self._turn() or self._size
        share = max(-(-left // self._workers), size // LAST, self._bounds.fewest)
        return min(size, share, left)

    def ran(self, units: int, seconds: float) -> None:
        """A part of so many units has ended after `seconds`."""
        self._ended += 1
        if self._ended <= self._workers:  # the first part on each worker is cold
            return
        self._times[units] = times = (*self._times.get(units, ()), seconds / units)[-KEPT:]
        if len(times) >= TIMES and not units & (units - 1):
            before, self._timed[units] = self._timed.get(units), middle(times)
            if self._timed[units] != before:
                self._choose()

    def found(self) -> tuple[tuple[int, float], ...]:
        """(units, seconds per unit of one part) for each size that was timed often enough."""
        return tuple(sorted(self._timed.items()))

    def _choose(self) -> None:
        """Take the size that is measured next, or the best one."""
        timed = self._timed.copy()  # one operation
        best = min(timed.values())
        good = [each for each, seconds in timed.items() if seconds <= best * NEAR]
        size, self._beside = min(good), ()
        for edge in (size // 2, 2 * max(good)):
            if edge not in timed and self._within(edge):
                self._size = edge
                return
        self._size, self._beside = size, tuple(each for each in (2 * size, size // 2) if each in timed)

    def _turn(self) -> int | None:
        """A size beside the best, where it is the turn of one; of a new one it is more often."""
        sizes = self._beside
        if self._asked % YOUNG or not sizes:
            return None
        young = any(len(self._times[each]) < KEPT for each in sizes)
        turn, rest = divmod(self._asked, YOUNG if young else BESIDE)
        if rest:
            return None
        other, best = sizes[turn % len(sizes)], min(self._timed.copy().values())
        return other if self._timed[other] <= FAR * best or turn % SELDOM < len(sizes) else None

    def _within(self, size: int) -> bool:
        return self._bounds.least <= size <= self._bounds.most


def middle(times: Sequence[float]) -> float:
    """The second of three times, the sixth of fifteen: what disturbs a part mostly adds to its time."""
    return sorted(times)[len(times) // 3]
