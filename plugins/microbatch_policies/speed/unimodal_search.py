"""Which size to measure next where seconds per unit first fall and then rise with the size.

Sizes are exponents of two. Short strides from the best size so far, as long as `MOST` sizes in all still suffice
whatever the measurements say; longer ones where they would not. Invariant: with nothing refused and each value other
than its neighbours', the fastest size of all is found in at most `MOST` sizes from any start, up to 20 doublings off
on one side and 33 on the other. Nothing is remembered but the values, so a value that a second measurement corrects
leads the next stride too.

How many sizes suffice is Kiefer's count (1953): with `left` and `right` doublings from the best size to the next ones
known to be worse, n more are enough exactly if the larger gap is at most F(n + 2) and the smaller one at most F(n + 1),
F being Fibonacci's numbers. Rejected: plain Fibonacci search, which strides far from a start that is mostly near the
best (and a far larger part is slow, and needs memory); strides of two only, which end half as fast as the best from
seven doublings off; doubling strides, which overshoot and save no measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from microbatch_policies.speed.constants import MOST, STRIDE

__all__ = ["next_exponent"]


def next_exponent(
    seconds: Mapping[int, float], low: int, high: int, refused: Callable[[int], bool]
) -> int | None:
    """The exponent to measure next, None once the best has worse neighbours or `MOST` were measured.

    `seconds` has a value for at least one exponent; those outside `low` to `high` do not count.
    """
    parts = sorted(arm for arm in seconds if low <= arm <= high)
    if not parts:
        return None
    best = min(parts, key=seconds.__getitem__)
    at = parts.index(best)
    below = parts[at - 1] if at else None
    above = parts[at + 1] if at + 1 < len(parts) else None
    up = (high + 1 if above is None else above) - best
    down = best - (low - 1 if below is None else below)
    sides = [(up, down, 1, above), (down, up, -1, below)]
    sides.sort(key=lambda side: -1.0 if side[3] is None else seconds[side[3]])
    left = MOST - len(parts) - 1
    for gap, other, sign, worse in sides:
        wanted = STRIDE if worse is None else gap // 2
        for distance in _by_closeness(gap, wanted):
            enough = _enough(gap - distance, distance, left) and _enough(distance, other, left)
            if enough and not refused(best + sign * distance):
                return best + sign * distance
    return _beyond(best, sides, refused)


def _by_closeness(gap: int, wanted: int) -> Iterator[int]:
    """Distances within the gap, those nearest to the wanted one first."""
    yield from sorted(range(1, gap), key=lambda distance: abs(distance - wanted))


def _enough(gap: int, other: int, sizes: int) -> bool:
    """Whether so many more sizes find the best between two worse ones at these distances."""
    if sizes < 0:
        return False
    smaller, larger = 1, 1
    for _ in range(sizes):
        smaller, larger = larger, smaller + larger
    return max(gap, other) <= larger and min(gap, other) <= smaller


def _beyond(
    best: int, sides: list[tuple[int, int, int, int | None]], refused: Callable[[int], bool]
) -> int | None:
    """A stride towards a side where nothing was measured, whatever it takes: times measured elsewhere cost no steps."""
    for gap, _, sign, worse in sides:
        beyond = best + sign * min(STRIDE, gap - 1)
        if worse is None and gap > 1 and not refused(beyond):
            return beyond
    return None
