"""The pace of a step: within its bounds whatever the times, and near the best size at the end of one step."""

from __future__ import annotations

import heapq
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.sizing.pace import LAST, Pace, PaceBounds


def bounds(start: int, least: int = 1, most: int = 1 << 12) -> PaceBounds:
    return PaceBounds(start=start, least=least, most=most)


exponents = st.tuples(st.integers(0, 10), st.integers(0, 5), st.integers(0, 5))


@given(exponents, st.integers(1, 8), st.integers(1, 200_000), st.randoms())
def test_every_size_is_within_the_bounds_and_all_rows_are_planned(
    drawn: tuple[int, int, int], workers: int, rows: int, rng: random.Random
) -> None:
    """Whatever the times are, zero and infinity among them."""
    start, up, down = drawn
    limits = bounds(1 << start, 1 << max(0, start - down), 1 << (start + up))
    pace, left = Pace(limits, workers), rows
    for _ in range(2000):
        if not left:
            break
        size = pace.size(left)
        assert 1 <= size <= min(left, limits.most)
        pace.ran(size, rng.choice([0.0, 1e-6, 1.0, rng.random(), float("inf")]))
        left -= size


@given(st.integers(4, 9), st.integers(0, 12), st.floats(0.02, 0.6), st.integers(1, 4), st.integers(0, 10**6))
def test_a_step_ends_at_a_size_that_is_nearly_the_best(
    start: int, peak: int, bend: float, workers: int, seed: int
) -> None:
    """Under noise: parts take up to 20 % longer, one in ten twice as long, and load comes for a while.

    Seconds per unit are least at `peak` and rise by `bend` for each doubling away from it.
    """
    rng = random.Random(seed)

    def cost(size: int) -> float:
        return 1 + bend * abs(math.log2(size) - peak)

    pace, left = Pace(bounds(1 << start), workers), 1 << 18
    ends: list[tuple[float, int, float]] = []
    now, sizes = 0.0, []
    while left or ends:
        if left and len(ends) < workers:
            size = pace.size(left)
            left -= size
            sizes.append(size)
            loaded = 1.5 if 0.3 < now / 4e5 * workers < 0.4 else 1.0
            seconds = size * cost(size) * loaded * (2 if rng.random() < 0.1 else 1 + rng.random() / 5)
            heapq.heappush(ends, (now + seconds, size, seconds))
        else:
            now, size, seconds = heapq.heappop(ends)
            pace.ran(size, seconds)
    most = [size for size in sizes[len(sizes) // 2 :]]
    common = max(set(most), key=lambda size: size * most.count(size))
    if len(sizes) >= 64:
        assert cost(common) <= 1.2 * cost(min((1 << each for each in range(13)), key=cost))


@pytest.mark.parametrize("odd", [9.0, 0.1])
def test_one_part_that_is_unlike_the_others_moves_nothing(odd: float) -> None:
    """The median counts: of a slow part, and of one that had both cores for itself by chance."""
    pace = Pace(bounds(16, 16, 32), 1)
    for seconds in (9.0, 1.0, 1.0, 1.0):
        pace.ran(16, 16 * seconds)
    for seconds in (2.0, odd, 2.0):
        pace.ran(32, 32 * seconds)
    assert [pace.size(10_000) for _ in range(3)] == [16, 16, 16]


def test_a_size_beside_the_best_is_looked_at_now_and_then() -> None:
    """One part in 32; one in 256 where it was far slower, as that may have been the load of others."""
    near, far = Pace(bounds(16, 16, 32), 1), Pace(bounds(16, 16, 32), 1)
    for pace, other in ((near, 1.2), (far, 1.9)):
        for _ in range(4):
            pace.ran(16, 16.0)
        for _ in range(3):
            pace.ran(32, 32 * other)
        pace.size(10**6)
    assert [near.size(10**6) for _ in range(1024)].count(32) == 32
    assert [far.size(10**6) for _ in range(1024)].count(32) == 4


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_the_last_parts_are_shared_out(workers: int) -> None:
    """None is larger than the share of a worker in what is left."""
    pace, left = Pace(bounds(1024), workers), 2000
    sizes = []
    while left:
        sizes.append(pace.size(left))
        left -= sizes[-1]
    assert sizes[-1] <= 1024 // LAST + workers
    assert len(sizes) <= 4 * workers + 8


def test_what_was_timed_too_seldom_is_not_told() -> None:
    """The first parts of all are cold, one on each worker; and sizes of the last parts are no sizes."""
    pace = Pace(bounds(16), 2)
    for _ in range(4):
        pace.ran(16, 1.0)
    assert pace.found() == ()
    pace.ran(16, 1.0)
    for _ in range(4):
        pace.ran(13, 0.1)
    assert pace.found() == ((16, 1.0 / 16),)
