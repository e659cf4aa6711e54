"""The wrapper that keeps below a share of the memory and learns the best size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.testing.given_plugins import GivenPolicy


def double(x: Any) -> Any:
    return x * 2


def test_it_returns_what_the_plain_call_returns() -> None:
    x = np.arange(60.0).reshape(20, 3)
    with microbatch.DynamicUBatchWrapper(double, memory_threshold=0.5) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2)


def test_memory_usage_is_measured() -> None:
    with microbatch.DynamicUBatchWrapper(double) as wrapped:
        before = wrapped._get_memory_usage()
        assert 0 < before < 1
        kept = np.ones(64 << 20, np.uint8)
        wrapped._engine.backend()._memory.last = None  # type: ignore[attr-defined]
        assert wrapped._get_memory_usage() > before
        del kept


def test_the_best_size_follows_the_times_recorded() -> None:
    x = np.ones((4096, 256), np.float32)
    with microbatch.DynamicUBatchWrapper(double) as wrapped:
        assert wrapped.optimal_ubatch_size() == 0
        for _ in range(30):
            wrapped(x)
        assert 1 <= wrapped.optimal_ubatch_size() <= 4096
        wrapped.record_timing(64, 1e-9)
        assert 1 <= wrapped.optimal_ubatch_size() <= 4096


TIMES = {16: 4e-6, 128: 2e-5, 512: 4e-5, 1000: 1e-3, 2048: 1e-3}
"""Seconds by size; 512 does the most rows per second."""


def test_the_best_recorded_rate_is_known_before_any_step() -> None:
    with microbatch.DynamicUBatchWrapper(double) as wrapped:
        assert wrapped.optimal_ubatch_size() == 0
        for size, seconds in TIMES.items():
            wrapped.record_timing(size, seconds)
        assert wrapped.optimal_ubatch_size() == 512
        wrapped.record_timing(1000, 1e-9)
        assert wrapped.optimal_ubatch_size() == 1000


def test_a_size_beyond_the_cap_is_not_the_best() -> None:
    with microbatch.DynamicUBatchWrapper(double, max_tokens_per_ubatch=200) as wrapped:
        for size, seconds in TIMES.items():
            wrapped.record_timing(size, seconds)
        assert wrapped.optimal_ubatch_size() == 128


@pytest.mark.parametrize("policy", ["auto", "throughput"])
def test_the_first_step_has_the_size_that_was_taught(policy: str) -> None:
    """One that was taught nothing finds its size by the times, and has no part above a 16th of the batch."""
    x, sizes = np.ones((4096, 16), np.float32), []
    for taught in (False, True):
        with microbatch.DynamicUBatchWrapper(double, policy=policy, schedule="sequential") as wrapped:
            for size, seconds in TIMES.items() if taught else ():
                wrapped.record_timing(size, seconds)
            wrapped(x)
            assert wrapped.last_report is not None
            sizes.append(wrapped.last_report.sizes[1])  # the first is large, as it has a row that was tried
    assert sizes[0] <= 4096 // 16 < sizes[1] == 512


def test_times_for_a_batch_that_is_known_reach_the_policy_at_once() -> None:
    seen: list[microbatch.StepReport] = []

    class Spy:
        def propose(self, request: microbatch.SizingRequest) -> microbatch.Proposal:
            return microbatch.Proposal(limit=4)

        def observe(self, report: microbatch.StepReport) -> None:
            seen.append(report)

    with microbatch.DynamicUBatchWrapper(double, plugins=GivenPolicy(Spy()), policy="given") as wrapped:
        wrapped.record_timing(3, 0.5)
        wrapped.record_timing(2, 0.25)
        assert seen == []
        wrapped(np.ones((8, 3), np.float32))
        wrapped.record_timing(5, 1.0)
    first, second, step, last = seen
    assert step.sizes == (4, 4)
    told = [(report.sizes, report.seconds, report.schedule) for report in (first, second, last)]
    assert told == [((3,), 0.5, ""), ((2,), 0.25, ""), ((5,), 1.0, "")]
    assert {(report.signature, report.unit) for report in seen} == {(step.signature, "rows")}


def test_asking_for_the_size_does_not_take_the_next_time_for_its_answer() -> None:
    """A policy awaits the report of what it was asked for, and would take a recorded time for that."""
    x = np.ones((4096, 16), np.float32)
    with microbatch.DynamicUBatchWrapper(double, policy="throughput", schedule="sequential") as wrapped:
        wrapped(x)
        for size, seconds in list(TIMES.items()) * 3:
            assert wrapped.optimal_ubatch_size() >= 1
            wrapped.record_timing(size, seconds * 1e-3)
        assert wrapped.optimal_ubatch_size() == 512


@pytest.mark.parametrize(
    ("num_tokens", "elapsed", "told"),
    [
        (0, 1.0, "num_tokens is 0"),
        (2.0, 1.0, "num_tokens is 2.0"),
        (True, 1.0, "num_tokens is True"),
        (8, 0.0, "elapsed is 0.0"),
        (8, -1.0, "elapsed is -1.0"),
        (8, float("nan"), "elapsed is nan"),
        (8, "fast", "elapsed is 'fast'"),
    ],
)
def test_what_is_no_time_of_a_ubatch_is_refused(num_tokens: Any, elapsed: Any, told: str) -> None:
    with microbatch.DynamicUBatchWrapper(double) as wrapped:
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match=told):
            wrapped.record_timing(num_tokens, elapsed)
        assert wrapped.optimal_ubatch_size() == 0


def test_the_share_bounds_what_a_step_may_use() -> None:
    seen: list[int | None] = []

    class Spy:
        def propose(self, request: microbatch.SizingRequest) -> microbatch.Proposal:
            seen.append(request.memory_limit)
            return microbatch.Proposal(limit=4)

        def observe(self, report: microbatch.StepReport) -> None:
            pass

    with microbatch.DynamicUBatchWrapper(double, memory_threshold=0.5) as wrapped:
        wrapped._engine.planner.policy = Spy()
        wrapped(np.ones(16))
        reading = wrapped._engine.backend().memory()
    assert seen[0] is not None
    assert 0 < seen[0] <= reading.capacity // 2


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (90, "did you mean 0.9"),
        (0, "expected"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (True, "True"),
        (-1, "-1"),
    ],
    ids=["21 percent", "21 zero", "20 nan", "21 inf", "bool", "negative"],
)
def test_a_threshold_that_is_no_fraction_is_refused(threshold: float, text: str) -> None:
    with pytest.raises(ArgumentValueError, match=text):
        microbatch.DynamicUBatchWrapper(double, memory_threshold=threshold)
