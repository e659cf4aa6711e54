"""Tuning: no size runs that was not predicted to fit, and the smallest good one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.tuning.measure import Part, choose, doubling, measure_sizes
from microbatch.tuning.prediction import ALLOWANCE, predicted
from microbatch.tuning.report import TunePoint

MIB = 1 << 20


@dataclass
class Mark:
    bench: Bench
    in_use: int = 0

    def peak(self) -> int:
        return self.bench.highest


@dataclass
class Bench:
    """A device with a clock of its own: a part of n rows takes `seconds(n)` and needs `peak(n)` bytes."""

    seconds: Callable[[int], float]
    peak: Callable[[int], int] = lambda rows: rows
    capacity: int = 1 << 60
    measures: bool = True
    now: float = 0.0
    highest: int = 0
    unit: str = "rows"
    ran: list[int] = field(default_factory=list)

    def part(self, size: int) -> Part:
        return Part(call=lambda: self.run(size), rows=size, input_bytes=size)

    def run(self, size: int) -> None:
        self.ran.append(size)
        if self.peak(size) > self.capacity:
            raise MemoryError("out of memory")
        self.highest = max(self.highest, self.peak(size))
        self.now += self.seconds(size)

    def mark(self) -> Mark | None:
        self.highest = 0
        return Mark(self) if self.measures else None

    def out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, MemoryError)

    def clock(self) -> float:
        return self.now


@given(
    fixed=st.integers(0, 1 << 24), slope=st.integers(1, 1 << 20), budget=st.integers(2 * MIB, 1 << 28),
    last=st.integers(1, 1 << 16), noise=st.lists(st.floats(-0.04, 0.04), min_size=18, max_size=18),
)  # fmt: skip
def test_nothing_runs_that_does_not_fit(
    fixed: int, slope: int, budget: int, last: int, noise: list[float]
) -> None:
    def peak(rows: int) -> int:
        return int((fixed + slope * rows) * (1 + noise[rows.bit_length()]))

    bench = Bench(lambda rows: 0.1, peak)
    report = measure_sizes(bench, doubling(1, last), bench.clock, budget=budget)
    assert all(peak(size) <= budget for size in set(bench.ran[2:]) - {1})
    assert [point.size for point in report.points] == sorted(set(bench.ran))
    assert report.chosen in bench.ran
    if report.stopped != "every size was measured":  # and not far below what fits
        following = 2 * report.points[-1].size
        following = min(following, last)
        if len(report.points) >= 3:
            assert 2.6 * peak(following) + ALLOWANCE > budget
        else:  # in proportion to the peaks so far, which is much for what has a fixed cost
            steepest = max(peak(point.size) / point.size for point in report.points)
            assert 1.2 * following * steepest + ALLOWANCE > budget


def test_the_smallest_of_the_good_ones_is_chosen() -> None:
    bench = Bench(lambda rows: 0.01 + rows * 1e-3)
    report = measure_sizes(bench, doubling(1, 4096), bench.clock, budget=1 << 40)
    speeds = {point.size: point.rows_per_second for point in report.points}
    best = max(speeds.values())
    assert speeds[report.chosen] >= 0.95 * best
    assert all(speed < 0.95 * best for size, speed in speeds.items() if size < report.chosen)
    assert f"{report.chosen} rows is the smallest" in report.reason


def test_a_device_that_says_no_ends_the_search() -> None:
    bench = Bench(lambda rows: 0.1, peak=lambda rows: rows, capacity=100, measures=False)
    report = measure_sizes(bench, doubling(1, 4096), bench.clock, budget=1 << 40)
    assert report.points[-1].size == 64
    assert report.stopped == "128 rows ran out of memory"
    assert all(point.peak_bytes is None and point.predicted_bytes is None for point in report.points)


def test_long_calls_past_the_peak_end_the_search() -> None:
    bench = Bench(lambda rows: rows * (0.01 if rows <= 64 else 0.05))
    report = measure_sizes(bench, doubling(1, 4096), bench.clock, budget=1 << 40)
    assert report.points[-1].size == 256
    assert "throughput falls" in report.stopped


def test_an_error_of_the_function_is_its_own() -> None:
    def seconds(rows: int) -> float:
        raise ValueError("no such model")

    bench = Bench(seconds)
    with pytest.raises(ValueError, match="no such model"):
        measure_sizes(bench, (1, 2), bench.clock, budget=1 << 40)


def test_the_first_size_that_does_not_fit_is_an_error() -> None:
    bench = Bench(lambda rows: 0.1, capacity=0)
    with pytest.raises(MemoryError):
        measure_sizes(bench, (1, 2), bench.clock, budget=1 << 40)


def test_a_miss_widens_the_next_prediction() -> None:
    def point(size: int, peak: int, bound: int | None) -> TunePoint:
        return TunePoint(
            size=size, rows=size, seconds=1.0, rows_per_second=size, peak_bytes=peak, predicted_bytes=bound
        )

    calm = [point(1, 10 * MIB, None), point(2, 20 * MIB, 20 * MIB)]
    missed = [point(1, 10 * MIB, None), point(2, 20 * MIB, 10 * MIB)]
    first, second = predicted(calm, 4), predicted(missed, 4)
    assert first is not None and second is not None
    assert second - ALLOWANCE >= 1.8 * (first - ALLOWANCE)


def test_choose_needs_points() -> None:
    with pytest.raises(ValueError):
        choose([])


@given(st.integers(1, 100), st.integers(1, 10**6))
def test_sizes_double_up_to_the_last(first: int, last: int) -> None:
    sizes = doubling(first, last)
    assert sizes[-1] == last or sizes == (min(first, last),)
    assert all(small < large <= 2 * small for small, large in pairwise(sizes))
