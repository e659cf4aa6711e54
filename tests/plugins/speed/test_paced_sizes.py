"""A first step finds its size while it runs; later ones have parts of one size, and begin with that."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.speed.constants import MOST_PACED, PACED_ROWS
from microbatch_policies.speed.paced_sizes import first_step, found_size
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
    start = answer.start or answer.limit or asked.num_tokens
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
    answer = first_step(request(rows, workers, row_bytes), "")
    assert answer.start is not None and answer.limit is not None
    assert 1 <= answer.start <= answer.limit <= max(answer.start, rows // MOST_PACED)


def steps(policy: Throughput, asked: SizingRequest, count: int, **seconds: float) -> list[Proposal]:
    """What is proposed for steps that take `whole`, `single` (one worker) or `parts` seconds."""
    answers = []
    for _ in range(count):
        answers.append(answer := policy.propose(asked))
        kind = "whole" if not answer.split else "single" if answer.workers == 1 else "parts"
        pace = ((256, 1e-6), (512, 2e-6)) if answer.start else ()
        policy.observe(report(asked, answer, seconds[kind], pace=pace))
    return answers


def test_the_second_step_has_parts_of_the_size_that_the_first_one_found() -> None:
    asked = request()
    first, second, *_ = steps(Throughput(), asked, 6, parts=0.1, single=0.1, whole=0.4)
    assert first.start is not None and second.start is None
    assert second.limit == 256


def test_a_size_that_is_hardly_faster_is_not_taken_for_the_smaller_one() -> None:
    asked = request()
    for pace, size in (([(64, 1.0), (128, 0.98)], 6), ([(64, 1.0), (128, 0.9), (128, 1.2)], 7)):
        assert found_size(report(asked, Proposal(start=64, limit=128), 1.0, pace=pace)) == size


def test_of_a_step_that_ran_in_other_parts_the_largest_is_taken_and_of_a_whole_one_nothing() -> None:
    asked = request()
    assert found_size(report(asked, Proposal(start=64, limit=128), 1.0)) == 6
    assert found_size(report(asked, Proposal(split=False), 1.0)) is None


@pytest.mark.parametrize(("single", "may"), [(0.1, True), (0.3, False)])
def test_the_whole_batch_is_tried_only_where_one_worker_is_not_slower(single: float, may: bool) -> None:
    """Else trying it once would cost as much as many steps: 40 times at the curve of sockeye#940."""
    answers = steps(Throughput(), request(), 20, parts=0.1, single=single, whole=0.4)
    assert any(not answer.split for answer in answers) == may


def test_what_was_learned_is_kept() -> None:
    policy, asked = Throughput(), request()
    steps(policy, asked, 12, parts=0.1, single=0.3, whole=0.4)
    kept = Throughput()
    kept.restore(json.loads(json.dumps(policy.state())))
    answer = kept.propose(asked)
    assert answer.start is None and answer.limit is not None and answer.limit <= 512


def test_where_rows_may_not_be_paced_after_all_there_is_a_size_all_the_same() -> None:
    """Other threads of the same wrapper may ask so: for a step whose ubatches take turns."""
    policy, asked = Throughput(), request()
    policy.propose(asked)
    answer = policy.propose(replace(asked, paced=False))
    assert answer.start is None and answer.limit is not None
