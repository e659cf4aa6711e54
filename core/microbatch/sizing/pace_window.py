"""A window: several parts of one size, one after another on all workers, and what a unit takes in them.

Invariant: one thread closes it. Parts that ran beside those of another size do not count, and neither does
the slowest third, as what disturbs a part adds to its time. Rejected: the fastest part, since one that has
Python's lock for itself by chance takes a third of the others' time.
"""

from __future__ import annotations

from itertools import count

TIMES = 3
"""Parts of a window, at least; and one for each worker."""
SECONDS = 2e-3
"""Seconds that they take together, at least; with `MOST` parts it is enough in any case."""
MOST = 32
"""Parts of a window, at most: of very short ones."""


def parts_of_window(workers: int) -> int:
    """How many are planned until it closes: those that do not count, those that do, and those in flight."""
    return workers + max(TIMES, workers) + workers


class Window:
    """Parts of one size, one after another."""

    __slots__ = ("_closers", "_skipped", "_skips", "size", "times")

    def __init__(self, size: int, skips: int) -> None:
        """The first `skips` parts that end run beside those of another size and do not count."""
        self.size = size
        self.times: list[float] = []
        """Seconds of each part that counts."""
        self._skips = skips
        self._skipped = count()
        self._closers = count()

    def closed_by(self, seconds: float, workers: int, hopeless: float) -> bool:
        """Take the time of a part; whether it is the one that closes the window.

        Two of `hopeless` seconds or more do that at once.
        """
        if next(self._skipped) < self._skips:
            return False
        self.times.append(seconds)
        parts, taken = len(self.times), sum(self.times)
        enough = parts >= max(TIMES, workers) and (parts >= MOST or taken >= SECONDS)
        given_up = parts > 1 and min(self.times) > hopeless
        return (enough or given_up) and not next(self._closers)

    def seconds_per_unit(self) -> float:
        """Of one part, without the slowest third of them."""
        kept = sorted(self.times)[: -(-2 * len(self.times) // 3)]
        return sum(kept) / len(kept) / self.size
