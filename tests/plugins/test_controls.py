"""`pressure`, `latency` and `buckets`."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import FailureKind, MemoryReading, SizingRequest, StepReport
from microbatch.testing.strategies import memory_traces
from microbatch_policies.buckets import LADDER, Buckets, round_down
from microbatch_policies.latency import GROWTH, Latency
from microbatch_policies.pressure import Pressure


def request(pressure: float | None = None, num_tokens: int = 1000, **fields: object) -> SizingRequest:
    memory = None
    if pressure is not None:
        memory = MemoryReading(capacity=100, in_use=50, usable=50, peak=50, pressure=pressure)
    return SizingRequest(
        num_tokens=num_tokens, num_requests=num_tokens, signature="s", memory=memory, **fields
    )  # type: ignore[arg-type]


def ran(sizes: tuple[int, ...], seconds: tuple[float, ...], failure: FailureKind | None = None) -> StepReport:
    return StepReport(
        step=0, num_tokens=sum(sizes), num_requests=sum(sizes), sizes=sizes, seconds=sum(seconds),
        ubatch_seconds=seconds, signature="s", failure=failure,
    )  # fmt: skip


def sizes(policy: Pressure, pressures: list[float | None]) -> list[int]:
    return [policy.propose(request(pressure)).limit or 0 for pressure in pressures]


def test_pressure_acts_at_the_high_mark_only_and_lets_go_at_the_low_one() -> None:
    policy = Pressure()
    assert sizes(policy, [0.0, 0.84, 0.7]) == [1000, 1000, 1000]
    first, *between = sizes(policy, [0.9, 0.75, 0.75, 0.75])
    assert first < 1000 and set(between) == {first}
    back = sizes(policy, [0.6] * 10)
    assert back == sorted(back) and back[0] > first and back[-1] == 1000


def test_pressure_changes_by_bounded_steps_and_never_to_nothing() -> None:
    policy = Pressure()
    found = sizes(policy, [1.5] * 30)
    assert all(after >= before // 2 for before, after in zip([1000, *found], found, strict=False))
    assert found[-1] == 1


@given(trace=memory_traces(max_size=30))
def test_pressure_over_a_trace_never_grows_while_memory_fills_up(trace: list[MemoryReading]) -> None:
    """And never leaves the batch: at least one unit, at most all of them."""
    policy = Pressure()
    answers = [policy.propose(replace(request(), memory=reading)).limit or 0 for reading in trace]
    assert all(1 <= answer <= 1000 for answer in answers)
    for (before, after), (earlier, later) in zip(pairwise(answers), pairwise(trace), strict=True):
        if later.pressure >= max(0.85, earlier.pressure):
            assert after <= before


def test_a_failed_reading_keeps_the_last_value() -> None:
    policy, other = Pressure(), Pressure()
    assert sizes(policy, [0.95, None, None]) == sizes(other, [0.95, 0.95, 0.95])


def test_pressure_starts_from_the_limit_of_the_chain() -> None:
    answer = Pressure().propose(request(0.9, limit=100))
    assert answer.limit is not None and 50 <= answer.limit < 100 and answer.hard


@given(st.floats(0.001, 0.1), st.floats(1e-5, 1e-3), st.floats(0.05, 2.0))
def test_latency_keeps_the_deadline_and_uses_most_of_it(start: float, each: float, deadline: float) -> None:
    policy = Latency(deadline)
    for _ in range(12):
        size = policy.propose(request(num_tokens=100_000)).limit or 0
        policy.observe(ran((size,) * 2, (start + each * size,) * 2))
    seconds = start + each * size
    assert seconds <= deadline or size == 1
    assert size == 100_000 or start + each * (size + 1) > 0.9 * deadline


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.floats(1e-4, 1.0)), max_size=6),
    st.floats(0.01, 1),
    st.floats(1, 5),
)
def test_a_tighter_deadline_never_gives_more(
    history: list[tuple[int, float]], deadline: float, slack: float
) -> None:
    tight, loose = Latency(deadline), Latency(deadline * slack)
    for size, seconds in history:
        for policy in (tight, loose):
            policy.observe(ran((size,), (seconds,)))
    assert (tight.propose(request(num_tokens=4000)).limit or 0) <= (
        loose.propose(request(num_tokens=4000)).limit or 0
    )


def test_latency_grows_no_further_than_it_has_seen() -> None:
    policy = Latency(10.0)
    policy.observe(ran((4, 8), (0.001, 0.0011)))
    assert policy.propose(request()).limit == 8 * GROWTH


def test_latency_learns_nothing_from_failed_steps() -> None:
    policy = Latency()
    policy.observe(ran((4, 8), (1.0, 2.0), FailureKind.OTHER))
    assert policy.propose(request()).limit == Latency().propose(request()).limit


@given(st.integers(1, 5000), st.lists(st.integers(1, 4096), min_size=1, max_size=8))
def test_buckets_round_down_to_a_bucket(size: int, buckets: list[int]) -> None:
    limit = Buckets(buckets).propose(request(num_tokens=5000, limit=size)).limit
    assert limit is not None and limit <= size
    assert limit == max((bucket for bucket in buckets if bucket <= size), default=size)


@given(st.integers(1, 1 << 20))
def test_the_ladder_has_no_gap_wider_than_an_eighth_from_64_on(size: int) -> None:
    rounded = round_down(size, LADDER, beyond=16)
    assert rounded <= size
    assert size < 64 or rounded >= size * 7 / 8


def test_buckets_take_the_captured_sizes() -> None:
    assert Buckets().propose(request(graph_sizes=(3, 300))).limit == 300
    assert Buckets().propose(request()).limit == 992


@pytest.mark.parametrize("sizes_given", [(64, 8, 8), (8, 64)])
def test_bucket_sizes_may_come_in_any_order(sizes_given: tuple[int, ...]) -> None:
    assert Buckets(sizes_given).propose(request(limit=63)).limit == 8
