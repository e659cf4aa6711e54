"""How fast a step would have been without its slow parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import StepReport
from microbatch_policies.speed.constants import COLDEST
from microbatch_policies.speed.steady_seconds import steady_seconds


def report(
    seconds: float, times: tuple[float, ...], workers: int = 1, sizes: tuple[int, ...] = ()
) -> StepReport:
    sizes = sizes or (4,) * max(1, len(times))
    return StepReport(
        step=0, num_tokens=sum(sizes), num_requests=sum(sizes), sizes=sizes, seconds=seconds,
        ubatch_seconds=times, workers=workers,
    )  # fmt: skip


@given(st.floats(1e-4, 1.0), st.integers(4, 64), st.integers(1, 4))
def test_even_parts_are_as_measured(each: float, count: int, workers: int) -> None:
    seconds = each * count / workers
    assert steady_seconds(report(seconds, (each,) * count, workers)) == pytest.approx(seconds)


@given(st.floats(0.0, 5.0), st.integers(5, 64), st.integers(1, 4))
def test_what_few_parts_take_longer_is_left_out(excess: float, count: int, workers: int) -> None:
    times = (0.1 + excess * workers, *[0.1] * (count - 1))
    measured = report(0.1 * count / workers + excess, times, workers)
    assert steady_seconds(measured) == pytest.approx(0.1 * count / workers)


def test_larger_parts_may_take_longer() -> None:
    assert steady_seconds(report(1.0, (0.1, 0.2, 0.3, 0.4), sizes=(10, 20, 30, 40))) == pytest.approx(1.0)


@given(st.floats(1e-6, 10), st.lists(st.floats(0, 10), min_size=1, max_size=8), st.integers(1, 4))
def test_it_is_never_more_than_was_measured(seconds: float, times: list[float], workers: int) -> None:
    assert 0 <= steady_seconds(report(seconds, tuple(times), workers)) <= seconds


@pytest.mark.parametrize("times", [(0.5, 0.5), (0.9, 0.05, 0.05)])
def test_fewer_than_four_parts_tell_nothing(times: tuple[float, ...]) -> None:
    assert steady_seconds(report(1.0, times)) == 1.0 / COLDEST


def test_without_times_of_parts_it_is_the_time_of_the_step() -> None:
    assert steady_seconds(report(1.0, ())) == 1.0
    assert steady_seconds(report(1.0, (0.9, 0.1), sizes=(1, 2, 3))) == 1.0
