"""The wrapper that keeps below a share of the memory and learns the best size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import ArgumentValueError


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
        wrapped._engine.backend()._memory._last = None  # type: ignore[attr-defined]
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
