"""The pace of a step: within its bounds whatever the times, and near the best size at the end of one step."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.sizing.pace import BESIDE, KEPT, LAST, NEAR, Pace, PaceBounds


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a step meets. Seconds per unit are least at 2 ** `peak`; a doubling away adds `bend`."""

    start: int
    """The first parts have 2 ** `start` units."""
    peak: int
    bend: float
    workers: int

    def seconds(self, size: int) -> float:
        """Per unit, undisturbed."""
        return 1 + self.bend * abs(math.log2(size) - self.peak)

    def least(self) -> float:
        """At the best size."""
        return min(self.seconds(1 << each) for each in range(13))


machines = st.builds(
    Machine,
    start=st.integers(4, 9),
    peak=st.integers(0, 12),
    bend=st.floats(0.02, 0.6),
    workers=st.integers(1, 4),
)


def sizes_of_a_step(machine: Machine, noise: random.Random | None = None) -> list[int]:
    """Sizes of the parts of a step of 65,536 units.

    With `noise` parts take up to 20 % longer, one in ten twice as long, and for a tenth of the step the
    machine has other load, too.
    """
    pace, left = Pace(bounds(1 << machine.start), machine.workers), 1 << 16
    ends: list[tuple[float, int, float]] = []
    now, sizes = 0.0, list[int]()
    while left or ends:
        if left and len(ends) < machine.workers:
            sizes.append(pace.size(left))
            left -= sizes[-1]
            seconds = sizes[-1] * machine.seconds(sizes[-1])
            if noise is not None:
                seconds *= 2 if noise.random() < 0.1 else 1 + noise.random() / 5
                seconds *= 1.5 if 0.3 < now * machine.workers / 1e5 < 0.4 else 1
            heapq.heappush(ends, (now + seconds, sizes[-1], seconds))
        else:
            now, size, seconds = heapq.heappop(ends)
            pace.ran(size, seconds)
    return sizes


def cost(machine: Machine, sizes: list[int]) -> float:
    """Seconds of parts of these sizes, undisturbed, against those of the best size."""
    return sum(size * machine.seconds(size) for size in sizes) / sum(sizes) / machine.least()


@given(machines)
def test_a_step_ends_at_the_best_size(machine: Machine) -> None:
    """Where nothing disturbs it and parts are enough: ten sizes, at most, of three parts on each worker."""
    sizes = sizes_of_a_step(machine)
    full = [size for size in sizes[len(sizes) // 2 :] if not size & (size - 1)]
    if len(sizes) >= 100 * machine.workers:
        assert machine.seconds(max(set(full), key=full.count)) <= NEAR**2 * machine.least()


def test_under_noise_a_step_ends_near_the_best_size() -> None:
    """Of 200 drawn machines; what a search costs is in the first half of a step, and is bounded too."""
    halves, steps = [], []
    drawn = random.Random(0)
    for _ in range(200):
        machine = Machine(
            start=drawn.randint(4, 9),
            peak=drawn.randint(3, 12),
            bend=drawn.uniform(0.02, 0.6),
            workers=drawn.randint(1, 4),
        )
        sizes = sizes_of_a_step(machine, drawn)
        if len(sizes) >= 100 * machine.workers:
            halves.append(cost(machine, sizes[len(sizes) // 2 :]))
            steps.append(cost(machine, sizes))
    assert len(halves) > 50
    assert sorted(halves)[int(0.95 * len(halves))] <= 1.15
    assert max(halves) <= 1.5
    assert sorted(steps)[int(0.95 * len(steps))] <= 1.25


@pytest.mark.parametrize("odd", [9.0, 0.1])
def test_one_part_that_is_unlike_the_others_moves_nothing(odd: float) -> None:
    """The median counts: of a slow part, and of one that had both cores for itself by chance."""
    pace = Pace(bounds(16, 16, 32), 1)
    for seconds in (9.0, 1.0, 1.0, 1.0):
        pace.ran(16, 16 * seconds)
    for seconds in (2.0, odd, 2.0):
        pace.ran(32, 32 * seconds)
    assert [pace.size(10_000) for _ in range(3)] == [16, 16, 16]


@pytest.mark.parametrize(("other", "times"), [(1.2, 8), (1.9, 1)])
def test_a_size_beside_the_best_is_looked_at_now_and_then(other: float, times: int) -> None:
    """An eighth as often where it was far slower: that may have been the load of others."""
    pace = Pace(bounds(16, 16, 32), 1)
    for _ in range(4):
        pace.ran(16, 16.0)
    for _ in range(3):
        pace.ran(32, 32 * other)
    assert [pace.size(10**6) for _ in range(1024)].count(32) == 32 * times
    for _ in range(KEPT):
        pace.ran(32, 32 * other)
    assert [pace.size(10**6) for _ in range(1024)].count(32) == 4 * times


def test_sizes_that_earlier_steps_have_timed_are_not_tried_anew() -> None:
    """Those beyond the bounds say nothing; and one that takes longer now is left."""
    known = tuple((1 << each, 1 + abs(each - 6) / 5) for each in range(2, 11))
    pace = Pace(PaceBounds(start=64, least=16, most=128, known=known), 1)
    assert [pace.size(10**6) for _ in range(BESIDE // 2)] == [64] * (BESIDE // 2)
    assert {size for size, _ in pace.found()} == {16, 32, 64, 128}
    for _ in range(KEPT + 1):
        pace.ran(64, 64 * 1.5)
    assert pace.size(10**6) == 32


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
