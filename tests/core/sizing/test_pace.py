"""The pace of a step: within its bounds whatever the times, and near the best size at the end of one step."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.sizing.pace import FIRST_SECONDS, HOPELESS, LAST, Pace
from microbatch.sizing.pace_bounds import PaceBounds
from microbatch.sizing.pace_compared import NEAR
from microbatch.sizing.pace_window import TIMES


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
    pace, left = Pace(bounds(1 << machine.start), machine.workers, 1 << 16), 1 << 16
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
    """Of 200 drawn machines; what a search costs is in the first half of a step, and is bounded too.

    First parts are a 512th of the rows or fewer, as those of `throughput` are.
    """
    halves, steps = [], []
    drawn = random.Random(0)
    for _ in range(200):
        machine = Machine(
            start=drawn.randint(4, 7),
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


def time_parts(pace: Pace, seconds: float, count: int) -> None:
    """As many parts of the size that is asked for, each of so many seconds a unit."""
    for _ in range(count):
        size = pace.size(10**6)
        pace.ran(size, size * seconds)


@pytest.mark.parametrize("odd", [9.0, 1e-9])
def test_one_part_that_is_unlike_the_others_moves_nothing(odd: float) -> None:
    """A slow one in a window of the best size, and one of no time at all."""
    pace = Pace(bounds(16, 8, 32), 1)
    time_parts(pace, 1.0, 1 + TIMES)
    assert pace.size(10**6) == 32
    time_parts(pace, 1.2, 1 + TIMES)
    assert pace.size(10**6) == 8
    time_parts(pace, 1.2, 1 + TIMES)
    for _ in range(20):
        size = pace.size(10**6)
        pace.ran(size, size * (1.0 if size == 16 else 1.2))
    pace.ran(16, 16 * odd)
    sizes = []
    for _ in range(100):
        sizes.append(pace.size(10**6))
        pace.ran(sizes[-1], sizes[-1] * (1.0 if sizes[-1] == 16 else 1.2))
    assert sizes.count(16) > 80 and sizes[-1] == 16


def test_the_first_parts_grow_to_a_millisecond_at_once() -> None:
    pace = Pace(bounds(1, 1, 1 << 12), 2)
    sizes = []
    for _ in range(4):
        sizes.append(pace.size(10**6))
        pace.ran(sizes[-1], sizes[-1] * FIRST_SECONDS / 1000)
    assert sizes == [1, 16, 256, 512][:4]


def test_first_parts_that_are_long_do_not_grow_before_they_were_compared() -> None:
    pace = Pace(bounds(4, 1, 1 << 12), 1)
    time_parts(pace, FIRST_SECONDS, TIMES)
    assert pace.size(10**6) == 4


@given(st.integers(2, 8))
def test_parts_beside_those_of_another_size_do_not_count(workers: int) -> None:
    """As many as there are workers, whenever the size has changed."""
    pace = Pace(bounds(16, 16, 32), workers)
    time_parts(pace, 5.0, workers)
    time_parts(pace, 1.0, max(TIMES, workers))
    assert pace.found() == ((16, 1.0),) and pace.size(10**6) == 32
    time_parts(pace, 5.0, workers)
    time_parts(pace, 1.2, max(TIMES, workers))
    assert pace.found() == ((16, 1.0), (32, 1.2))


def test_a_size_that_is_hopeless_is_given_up_after_two_parts() -> None:
    pace = Pace(bounds(16, 16, 32), 1)
    time_parts(pace, 1.0, 1 + TIMES)
    assert pace.size(10**6) == 32
    time_parts(pace, HOPELESS + 0.1, 3)
    assert pace.size(10**6) == 16


def test_load_that_comes_and_goes_does_not_move_the_size() -> None:
    """What is compared are neighbours in time."""
    pace, sizes = Pace(bounds(64, 16, 256), 1), list[int]()
    for part in range(600):
        load = 3.0 if 200 < part < 400 else 1.0
        sizes.append(pace.size(10**6))
        pace.ran(sizes[-1], sizes[-1] * load * (1 + abs(math.log2(sizes[-1] / 64)) / 5))
    for at in (150, 350, 550):
        assert sizes[at : at + 50].count(64) > 25


@pytest.mark.parametrize(("other", "least", "most"), [(1.2, 10, 40), (1.5, 1, 10), (3.0, 1, 4)])
def test_a_size_beside_the_best_is_looked_at_now_and_then(other: float, least: int, most: int) -> None:
    """Far less often where it was far slower, and not at once where it was much slower than that."""
    pace = Pace(bounds(16, 16, 32), 1)
    compared, before = 0, 16
    for _ in range(256 * TIMES):
        size = pace.size(10**6)
        compared += size == 32 != before
        before = size
        pace.ran(size, size * (1.0 if size == 16 else other))
    assert least <= compared <= most


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


def test_sizes_of_the_last_parts_are_no_sizes() -> None:
    pace = Pace(bounds(16), 2)
    time_parts(pace, 1.0, 2)
    assert pace.found() == ()
    time_parts(pace, 1.0, 1)
    for _ in range(4):
        pace.ran(13, 0.1)
    assert pace.found() == ((16, 1.0),)
