"""Which size to measure next where seconds per unit first fall and then rise with the size.

Sizes are exponents of two. From the best size so far the next stride is short, as long as `MOST` sizes in all
are then still enough whatever the measurements say; where they would not be, it is longer. Invariant: with
nothing refused and no two neighbours alike, the fastest size of all is found in at most `MOST` sizes from any
start, up to 20 doublings off on one side and 33 on the other. Nothing is remembered but the values, so a
value that a second measurement corrects leads the next stride too.

How many sizes are enough is Kiefer's count (1953). Let there be two gaps, in doublings, from the best size to
the next known ones that are worse on either side. Then n more sizes are enough exactly if the larger gap is
at most F(n + 2) and the smaller one at most F(n + 1), F being Fibonacci's numbers. Rejected: plain Fibonacci
search, which strides far from a start that is mostly near the best (and a far larger part is slow, and needs
memory); strides of two only, which end half as fast as the best from seven doublings off; doubling strides,
which overshoot and save no measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from microbatch_policies.speed.constants import MOST, STRIDE


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
    # a size outside the range counts as one that is worse
    up = (high + 1 if above is None else above) - best
    down = best - (low - 1 if below is None else below)
    sides = [(up, down, 1, above), (down, up, -1, below)]
    sides.sort(key=lambda side: -1.0 if side[3] is None else seconds[side[3]])
    left = MOST - len(parts) - 1
    # First the side whose known neighbour is the better one, or where there is none. Of its distances that
    # leave enough sizes whichever of the two turns out better: the new size (gap left beyond it) or the best
    # so far.
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
    """A stride towards a side where nothing was measured yet, even if more than `MOST` sizes are needed then:
    times that were measured elsewhere use sizes up and cost no steps."""
    for gap, _, sign, worse in sides:
        beyond = best + sign * min(STRIDE, gap - 1)
        if worse is None and gap > 1 and not refused(beyond):
            return beyond
    return None
