"""Where paced steps begin: few rows at first, the best size of the last one later, never far beyond it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.speed.constants import GROWTH, MOST_PACED, PACED_ROWS
from microbatch_policies.speed.paced_sizes import PacedSizes
from microbatch_policies.speed.throughput import Throughput


def request(num_tokens: int = 1 << 14, workers: int = 2, row_bytes: int = 4096) -> SizingRequest:
    return SizingRequest(
        num_tokens=num_tokens,
        num_requests=num_tokens,
        bytes_per_unit=row_bytes,
        largest_bytes_per_unit=row_bytes,
        signature="f4[1024]",
        workers=workers,
        paced=True,
    )


def report(asked: SizingRequest, answer: Proposal, seconds: float, **fields: object) -> StepReport:
    start = answer.start or asked.num_tokens
    split = answer.split and start < asked.num_tokens
    sizes = (start,) * (asked.num_tokens // start) if split else (asked.num_tokens,)
    known: dict[str, object] = {"limit": answer.limit, "workers": answer.workers or asked.workers}
    return StepReport(
        step=0,
        num_tokens=asked.num_tokens,
        num_requests=asked.num_tokens,
        sizes=sizes,
        seconds=seconds,
        signature=asked.signature,
        **{**(known if split else {}), **fields},  # type: ignore[arg-type]
    )


@given(st.integers(PACED_ROWS, 1 << 24), st.integers(1, 64), st.integers(1, 1 << 20))
def test_a_first_step_begins_small(rows: int, workers: int, row_bytes: int) -> None:
    answer = PacedSizes().proposal(request(rows, workers, row_bytes), "")
    assert answer.start is not None and answer.limit is not None
    assert 1 <= answer.start <= answer.limit <= max(answer.start, rows // MOST_PACED)


@given(st.integers(0, 20), st.integers(1, 8))
def test_a_later_step_begins_at_the_best_size_and_has_no_part_far_beyond(exponent: int, workers: int) -> None:
    sizes, asked = PacedSizes(), request(1 << 20, workers)
    sizes.learn(((1 << exponent, 1e-6),), workers)
    answer = sizes.proposal(asked, "")
    assert answer.start == min(1 << exponent, -(-asked.num_tokens // max(2, workers)))
    assert answer.limit is not None and answer.limit <= max(answer.start, GROWTH << exponent)


def test_a_size_that_is_hardly_faster_moves_nothing() -> None:
    sizes = PacedSizes()
    assert sizes.learn([(64, 1.0), (128, 0.98)], 2) and sizes.proposal(request(), "").start == 64
    assert not sizes.learn([(64, 1.0), (128, 0.98)], 2)
    assert sizes.learn([(64, 1.0), (128, 0.9)], 2) and sizes.proposal(request(), "").start == 128


@pytest.mark.parametrize(("pace", "may"), [([(64, 1.0), (128, 1.2)], False), ([(64, 1.0), (128, 1.0)], True)])
def test_the_whole_batch_is_tried_only_where_larger_parts_of_one_worker_are_not_slower(
    pace: list[tuple[int, float]], may: bool
) -> None:
    """Else trying it once would cost as much as many steps: 40 times at the curve of sockeye#940."""
    policy, asked, seen = Throughput(), request(), []
    for _ in range(20):
        answer = policy.propose(asked)
        seen.append(answer.split)
        policy.observe(report(asked, answer, 0.1 if answer.split else 0.4, pace=pace if answer.split else ()))
    assert (False in seen) == may


def test_what_was_learned_is_kept() -> None:
    policy, asked = Throughput(), request()
    for _ in range(12):
        answer = policy.propose(asked)
        policy.observe(report(asked, answer, 0.1, pace=((256, 1e-6), (512, 2e-6))))
    kept = Throughput()
    kept.restore(json.loads(json.dumps(policy.state())))
    assert kept.propose(asked).start == 256


def test_a_state_of_before_has_no_sizes() -> None:
    """It is taken all the same; and one with sizes that cannot be is refused."""
    policy, asked = Throughput(), request()
    policy.observe(report(asked, policy.propose(asked), 0.1, pace=((256, 1e-6),)))
    state = json.loads(json.dumps(policy.state()))
    before = {**state, "kinds": [[key, *data[:2]] for key, *data in state["kinds"]]}
    Throughput().restore(before)
    for sizes in ([[2, 0]], [[3, 5]], [["2", 5]], 7, [[2]]):
        with pytest.raises(ValueError, match="throughput"):
            Throughput().restore(
                {**state, "kinds": [[key, *data[:2], sizes] for key, *data in state["kinds"]]}
            )
