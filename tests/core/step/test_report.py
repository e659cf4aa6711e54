"""A report of many ubatches tells some of them, and how many there were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.extend.records import StepReport
from microbatch.step.log import lost_seconds
from microbatch.step.report import MOST_TOLD, some_of


@given(st.integers(MOST_TOLD + 1, 5000), st.integers(0, 4999))
def test_those_that_are_told_are_spread_over_the_step(count: int, largest: int) -> None:
    """In row order; the first, the last and the largest among them."""
    sizes = [9 if number == largest else 8 for number in range(count)]
    told = some_of(sizes)
    assert told == sorted(set(told)) and len(told) <= MOST_TOLD + 1
    assert {0, count - 1, sizes.index(max(sizes))} <= set(told)
    assert max(np.diff(told)) <= -(-count // (MOST_TOLD - 1))


@pytest.mark.parametrize("schedule", ["sequential", "parallel"])
@pytest.mark.parametrize("count", [MOST_TOLD, MOST_TOLD + 1, 3000])
def test_a_step_of_many_ubatches(schedule: str, count: int) -> None:
    x = np.arange(count + 1)
    with microbatch.wrap(
        lambda rows: rows * 2, policy="fixed", num_ubatches=count, schedule=schedule, verify="never"
    ) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2)
        report = wrapped.last_report
    assert report is not None and report.num_ubatches == count
    assert len(report.sizes) == len(report.ubatch_seconds) <= MOST_TOLD + 1
    assert max(report.sizes) == 2 and min(report.ubatch_seconds) > 0
    assert f"{count:,} parts" in str(report)


def test_what_is_left_out_counts_where_sums_are_taken() -> None:
    report = StepReport(
        step=0, num_tokens=4000, num_requests=4000, sizes=(2,) * 1000, seconds=3.0,
        ubatch_seconds=(0.001,) * 1000, left_out=1000, schedule="sequential",
    )  # fmt: skip
    assert report.num_ubatches == 2000
    assert lost_seconds(report) == pytest.approx(1.0)
