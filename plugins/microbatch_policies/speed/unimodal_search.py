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

from collections.abc import Callable, Mapping

from microbatch_policies.speed.arms import Allowed
from microbatch_policies.speed.constants import MOST, STRIDE


def next_exponent(
    seconds: Mapping[int, float], allowed: Allowed, refused: Callable[[int], bool], stride: int = STRIDE
) -> int | None:
    """The exponent to measure next, None once the best has worse neighbours or `MOST` were measured.

    Where nothing is known on a side of the best, the next one is `stride` doublings off.
    `seconds` has a value for at least one exponent; those that are not allowed do not count.
    """
    known = {arm: seconds[arm] for arm in allowed.sizes(sorted(seconds))}
    if not known:
        return None
    best, left = min(known, key=known.__getitem__), MOST - len(known) - 1
    # a size outside the range counts as one that is worse
    places = [allowed.low - 1, *known, allowed.high + 1]
    at = places.index(best)
    up, down = places[at + 1] - best, best - places[at - 1]
    # First the side whose known neighbour is the better one, or where there is none.
    sides = [(up, down, 1), (down, up, -1)]
    sides.sort(key=lambda side: known.get(best + side[0] * side[2], -1.0))
    for gap, other, sign in sides:
        wanted = gap // 2 if best + gap * sign in known else stride
        for distance in sorted(range(1, gap), key=lambda distance: abs(distance - wanted)):
            # enough sizes are left whichever turns out better: the new one (gap beyond it) or the best so far
            enough = _enough(gap - distance, distance, left) and _enough(distance, other, left)
            if enough and not refused(best + distance * sign):
                return best + distance * sign
    # Else a stride towards a side where nothing was measured yet, even if more than `MOST` sizes are needed
    # then: times that were measured elsewhere use sizes up and cost no steps.
    open_sides = [side for side in sides if side[0] > 1 and best + side[0] * side[2] not in known]
    strides = [best + min(stride, gap - 1) * sign for gap, _, sign in open_sides]
    return next((arm for arm in strides if not refused(arm)), None)


def _enough(gap: int, other: int, sizes: int) -> bool:
    """Whether so many more sizes find the best between two worse ones at these distances."""
    smaller = larger = 1
    for _ in range(sizes):
        smaller, larger = larger, smaller + larger
    return sizes >= 0 and max(gap, other) <= larger and min(gap, other) <= smaller
