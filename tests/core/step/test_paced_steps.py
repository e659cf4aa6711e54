"""Steps that are planned as they go: the same answers, errors and numbers as of steps planned before."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microbatch
from microbatch import Layout, collect, current_ubatch, dbo, reduce, replicate, tokens
from microbatch.errors import UnprovenError
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch.testing.given_plugins import GivenPolicy


class From:
    """A policy that begins with parts of so many units."""

    def __init__(self, start: int, limit: int | None = None) -> None:
        self.answer = Proposal(start=start, limit=limit)
        self.asked: list[SizingRequest] = []

    def propose(self, request: SizingRequest) -> Proposal:
        self.asked.append(request)
        return self.answer

    def observe(self, report: StepReport) -> None:
        """Nothing to learn."""


def paced(function: Any, start: int = 4, limit: int | None = None, **options: Any) -> Any:
    plugins = GivenPolicy(From(start, limit))
    return microbatch.wrap(function, plugins=plugins, policy="given", **{"verify": "never", **options})


def report_of(step: Any) -> StepReport:
    report = step.last_report
    assert report is not None
    return report


@given(
    rows=st.integers(301, 2000),
    start=st.integers(1, 300),
    limit=st.none() | st.integers(1, 500),
    schedule=st.sampled_from(["parallel", "sequential"]),
)
@settings(deadline=None)
def test_the_result_is_that_of_the_plain_call(
    rows: int, start: int, limit: int | None, schedule: str
) -> None:
    """Rows, a value that all parts agree on, lists with an entry a row, and what is kept of each part."""

    def function(x: Any) -> Any:
        return {"y": x * 2, "t": [f"{each}" for each in x], "c": 7, "n": len(x), "s": x.sum()}

    layout = Layout(
        outputs={
            "y": tokens(),
            "t": tokens(),
            "c": replicate(),
            "n": collect(),
            "s": reduce(lambda values, weights: sum(values)),
        }
    )
    x = np.arange(float(rows))
    with paced(function, start, limit, schedule=schedule, layout=layout) as step:
        for _ in range(2):
            found = step(x)
            report = report_of(step)
            assert (found["y"] == x * 2).all() and found["t"] == [f"{each}" for each in x]
            assert found["c"] == 7 and sum(found["n"]) == rows and found["s"] == x.sum()
            assert len(found["n"]) == report.num_ubatches
            assert report.left_out or found["n"] == list(report.sizes)
            assert limit is None or max(report.sizes) <= max(1, limit)
            if len(report.sizes) > 1:
                assert len(report.ubatch_seconds) == len(report.sizes)


@given(
    st.integers(21, 800), st.integers(1, 20), st.integers(0, 400), st.sampled_from(["parallel", "sequential"])
)
@settings(deadline=None)
def test_each_ubatch_is_told_the_number_that_the_step_ends_with(
    rows: int, start: int, since: int, schedule: str
) -> None:
    """From whichever row on it is asked for; a mean over ubatches is then the mean."""
    told: list[int] = []

    def function(x: Any) -> Any:
        ubatch = current_ubatch()
        assert ubatch is not None and repr(ubatch.ubatch_id) in repr(ubatch)
        if x[0] >= since:
            told.append(dbo.dbo_num_ubatches())
        return x

    with paced(function, start, schedule=schedule) as step:
        assert (step(np.arange(float(rows))) == np.arange(rows)).all()
        assert set(told) <= {len(report_of(step).sizes)}


@pytest.mark.parametrize("schedule", ["parallel", "sequential"])
def test_the_first_error_reaches_the_caller_and_later_parts_are_not_begun(schedule: str) -> None:
    seen: list[float] = []

    def function(x: Any) -> Any:
        seen.append(x[0])
        if x[0] <= 100 < x[0] + len(x):
            raise ValueError("row 100")
        return x

    with paced(function, 8, schedule=schedule) as step:
        with pytest.raises(ValueError, match="row 100") as caught:
            step(np.arange(5000.0))
        assert any("ubatch" in line for line in caught.value.__notes__)
        report = report_of(step)
        assert report.failure is not None and sum(report.sizes) == 5000
        assert max(seen) < 4000
        assert (step(np.arange(50.0)) == np.arange(50)).all()


@pytest.mark.parametrize("schedule", ["parallel", "sequential"])
def test_a_part_that_runs_out_of_memory_runs_again_in_smaller_ones(schedule: str) -> None:
    most = 37

    def function(x: Any) -> Any:
        if len(x) > most:
            raise MemoryError(f"{len(x)} rows")
        return x * 3

    x = np.arange(6000.0)
    with paced(function, 16, 512, schedule=schedule) as step:
        for _ in range(2):
            assert (step(x) == x * 3).all()
    assert report_of(step).failure is None


def test_parts_that_take_each_others_memory_run_alone_in_the_end() -> None:
    """What was not begun when they failed included."""
    inside, lock = 0, threading.Lock()

    def function(x: Any) -> Any:
        nonlocal inside
        with lock:
            inside += 1
            crowd = inside > 1
        try:
            if crowd and x[0] > 500:
                raise MemoryError("two at a time")
            return x + np.array([sum(range(200))])[0]
        finally:
            with lock:
                inside -= 1

    x = np.arange(4000.0)
    with paced(function, 16, schedule="parallel") as step:
        assert (step(x) == x + sum(range(200))).all()


def test_progress_tells_all_rows() -> None:
    told: list[tuple[int, int]] = []
    with paced(lambda x: x, 4, progress=lambda done, total: told.append((done, total))) as step:
        step(np.arange(3000.0))
    assert told[-1] == (3000, 3000) and [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_row_that_was_tried_is_in_a_part_of_more_rows_than_were_tried() -> None:
    """Else a function with another way for small batches would be taken for what it does with few rows."""

    def function(x: Any) -> Any:
        return x * 2 if len(x) < 30 else x - x.mean(0)

    x = np.random.default_rng(0).normal(size=(3000, 4))
    for _ in range(5):
        with paced(function, 1, 64, verify="first") as step, pytest.raises(UnprovenError):
            step(x)


def test_what_a_step_has_shown_is_in_its_report() -> None:
    """The sizes that were timed; none where the parts were planned before."""
    with paced(lambda x: np.sort(x), 8, schedule="sequential") as step:
        step(np.arange(20_000.0))
        sizes, seconds = zip(*report_of(step).pace, strict=True)
        assert list(sizes) == sorted(sizes) and set(sizes) <= set(report_of(step).sizes)
        assert min(seconds) > 0
    with microbatch.wrap(lambda x: x, num_ubatches=4) as step:
        step(np.arange(20_000.0))
        assert report_of(step).pace == ()


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "pingpong"},
        {"schedule": "streamed"},
        {"schedule": "sequential", "multiple_of": 4},
        {"schedule": "sequential", "splitter": "floor"},
    ],
)
def test_where_parts_must_be_planned_before_the_start_is_a_limit(options: dict[str, Any]) -> None:
    with paced(lambda x: x + 1, 8, **options) as step:
        x = np.arange(100.0)
        assert (step(x) == x + 1).all()
        assert max(report_of(step).sizes) <= 8 and report_of(step).pace == ()


def test_rows_of_a_table_and_of_another_axis_are_put_together() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas (extra tables)")
    frame = pandas.DataFrame({"a": np.arange(700.0)}, index=np.arange(700) * 3)
    with paced(lambda f: f.assign(b=f.a * 2), 5, verify="first") as step:
        assert step(frame).equals(frame.assign(b=frame.a * 2))
    x = np.arange(1400.0).reshape(2, 700)
    with paced(
        lambda x: x * 2,
        5,
        layout=Layout(inputs={"x": tokens(1)}, outputs={"": tokens(1)}),
        schedule="sequential",
    ) as step:
        assert (step(x) == x * 2).all()


def test_a_step_leaves_no_cyclic_garbage() -> None:
    with paced(lambda x: x * 2, 4, schedule="parallel") as step:
        step(np.arange(2000.0))
        gc.collect()
        gc.disable()
        try:
            gc.set_debug(gc.DEBUG_SAVEALL)
            step(np.arange(2000.0))
            gc.collect()
            assert not [each for each in gc.garbage if "microbatch" in type(each).__module__]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


def test_only_a_request_that_may_be_paced_says_so() -> None:
    policy = From(4)
    with microbatch.wrap(
        lambda x: x, plugins=GivenPolicy(policy), policy="given", verify="never", schedule="sequential"
    ) as step:
        step(np.arange(100.0))
        assert policy.asked[-1].paced
    with microbatch.wrap(
        lambda x: x, plugins=GivenPolicy(policy), policy="given", verify="never", schedule="streamed"
    ) as step:
        step(np.arange(100.0))
        assert not policy.asked[-1].paced


@pytest.mark.parametrize("start", [1, 8])
@pytest.mark.parametrize("fewest", [2, 3, 5])
@pytest.mark.parametrize("schedule", ["parallel", "sequential"])
def test_a_function_that_raises_for_few_rows_is_given_no_fewer_than_it_was_tried_on(
    start: int, fewest: int, schedule: str
) -> None:
    """Neither while sizes are tried, nor at the end of the batch; in later steps, too."""

    def function(x: Any) -> Any:
        if len(x) < fewest:
            raise ValueError(f"at least {fewest} rows, please")
        return x * 2

    with paced(function, start, 64, schedule=schedule, verify="first") as step:
        for rows in (601, 643, 604, 602):
            x = np.arange(float(rows))
            np.testing.assert_array_equal(step(x), x * 2)
            assert min(report_of(step).sizes) >= 5 and len(report_of(step).sizes) > 9


def test_a_function_that_takes_one_row_is_given_one_where_the_policy_wants_so() -> None:
    """It is tried on one row alone before, as a size that follows the times may come down to that."""
    seen: list[int] = []

    def function(x: Any) -> Any:
        seen.append(len(x))
        return x * 2

    x = np.arange(600.0)
    for start in (1, 8):
        seen.clear()
        with paced(function, start, 64, schedule="sequential", verify="first") as step:
            np.testing.assert_array_equal(step(x), x * 2)
            assert sum(seen[:6]) == 24 + 5 and sum(seen[6:]) == 600
            assert start in report_of(step).sizes[:2]  # the first one has a row that was tried


def test_a_function_that_drops_the_axis_of_one_row_is_not_given_one() -> None:
    x = np.arange(1200.0).reshape(600, 2)
    with paced(lambda rows: np.squeeze(rows * 2), 1, 64, schedule="sequential", verify="first") as step:
        np.testing.assert_array_equal(step(x), x * 2)
        assert min(report_of(step).sizes) >= 5
