"""Parts of few sizes: at most four of them, whatever the policy tries and however many rows there are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import microbatch
from microbatch import Proposal, SizingRequest, StepReport
from microbatch.loading.plugins import Plugins
from microbatch.sizing.few_sizes import FewSizes, rounded

steps = st.lists(st.tuples(st.integers(2, 10**5), st.integers(1, 5000)), min_size=1, max_size=30)


@given(steps=steps)
def test_at_most_four_sizes_whatever_is_tried(steps: list[tuple[int, int]]) -> None:
    few, seen = FewSizes(), set[int]()
    for rows, limit in steps:
        parts = few.parts("kind", rows, limit)
        assert sum(parts) == rows
        assert parts == sorted(parts, reverse=True)
        seen |= set(parts)
    assert len(seen) <= 4


@given(steps=steps)
def test_a_bound_that_must_hold_holds(steps: list[tuple[int, int]]) -> None:
    few = FewSizes()
    for rows, limit in steps:
        parts = few.parts("kind", rows, limit, hard=True)
        assert sum(parts) == rows
        assert max(parts) <= limit
        assert len(set(parts)) <= 4


@given(rows=st.integers(100, 10**5), limits=st.lists(st.integers(2, 50), min_size=1, max_size=9))
def test_the_same_batch_again_needs_no_single_rows(rows: int, limits: list[int]) -> None:
    """What is left of the first batch is a size."""
    few = FewSizes()
    first = few.parts("kind", rows, limits[0])
    assert len(first) == -(-rows // limits[0])
    assert all(few.parts("kind", rows, limit).count(1) <= 16 for limit in limits)


@example(batches=[1026, 1000])
@given(batches=st.lists(st.integers(1000, 10**5), min_size=1, max_size=20))
def test_batches_of_any_size_need_few_small_parts(batches: list[int]) -> None:
    few = FewSizes()
    for rows in batches:
        assert len(few.parts("kind", rows, 512)) <= rows / 512 + 65


def test_kinds_do_not_share() -> None:
    few = FewSizes()
    few.parts("one", 1000, 512)
    assert few.parts("other", 1000, 100) == [100] * 10


@given(limit=st.integers(1, 10**9))
def test_rounded(limit: int) -> None:
    near, below = rounded(limit), rounded(limit, hard=True)
    assert below <= limit < 2 * below
    assert near in (below, 2 * below)
    assert max(near / limit, limit / near) <= 2**0.5 + 1e-9


class Restless(Plugins):
    """Plugins whose only policy tries another size in each step."""

    def policy(self, name: str, **options: Any) -> Any:
        class Tries:
            def propose(self, request: SizingRequest) -> Proposal:
                assert request.few
                return Proposal(limit=1 + (request.step * 37) % (request.num_tokens - 1))

            def observe(self, report: StepReport) -> None:
                pass

        return Tries()


@pytest.mark.counted
@pytest.mark.parametrize("rows", [lambda step: 1000, lambda step: 500 + 17 * step], ids=["one", "many"])
def test_a_policy_that_tries_sizes_reaches_no_limit_of_compilations(rows: Any) -> None:
    """Thirty steps, each with another size asked for."""
    sizes = Counter[int]()

    def counting(x: Any) -> Any:
        sizes[len(x)] += 1
        return x + 1

    with microbatch.wrap(counting, shapes="few", plugins=Restless(), schedule="sequential") as wrapped:
        for step in range(30):
            x = np.arange(float(rows(step)))
            np.testing.assert_array_equal(wrapped(x), x + 1)
    assert len(sizes) <= 4


def test_a_cap_that_the_user_set_is_a_size_of_its_own() -> None:
    with microbatch.wrap(np.negative, shapes="few", max_tokens_per_ubatch=300, verify="never") as wrapped:
        wrapped(np.arange(1000.0))
        assert wrapped.last_report.sizes == (300, 300, 300, 100)


def test_a_count_is_what_runs() -> None:
    with microbatch.wrap(np.negative, shapes="few", num_ubatches=3, verify="never") as wrapped:
        wrapped(np.arange(10.0))
        assert wrapped.last_report.sizes == (4, 3, 3)
