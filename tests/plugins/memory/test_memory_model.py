"""`memory-model`: learns peaks, bounds by them, and survives what does not follow the model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import FailureKind, MemoryReading, SizingRequest, StepReport
from microbatch_policies.auto import Auto
from microbatch_policies.memory.constants import LIFE, TRUST, UNMEASURED, UNSEEN
from microbatch_policies.memory.memory_kind import MemoryKind
from microbatch_policies.memory.memory_model import MemoryModel

UNITS = 4096


def request(limit: int | None, **fields: object) -> SizingRequest:
    return SizingRequest(
        num_tokens=UNITS,
        num_requests=UNITS,
        bytes_per_unit=4,
        largest_bytes_per_unit=4,
        signature="s",
        memory_limit=limit,
        **fields,  # type: ignore[arg-type]
    )


def ran(size: int, peak: int | None, **fields: object) -> StepReport:
    count = -(-UNITS // size)
    return StepReport(
        step=0,
        num_tokens=UNITS,
        num_requests=UNITS,
        sizes=(size,) * (UNITS // size) + ((UNITS % size,) if UNITS % size else ()),
        seconds=1.0 * count,
        signature="s",
        limit=size,
        peak_bytes=peak,
        **fields,  # type: ignore[arg-type]
    )


def test_nothing_bounds_without_reading_or_limit() -> None:
    assert MemoryModel().propose(request(None)).limit == UNITS


def test_unseen_work_is_taken_to_need_64_times_its_input() -> None:
    policy = MemoryModel()
    assert policy.propose(request(4 * UNSEEN * 100)).limit == 100
    policy.observe(ran(100, None))
    assert policy.propose(request(4 * UNSEEN * 100)).limit == 100 * UNSEEN // UNMEASURED


@given(st.integers(0, 1 << 20), st.integers(8, 1 << 12), st.integers(64, 2048))
def test_two_sizes_are_enough_to_find_the_limit(fixed: int, slope: int, fits: int) -> None:
    policy, budget = MemoryModel(), fixed + slope * fits + slope // 2
    for size in (fits // 8, fits // 4, fits // 2):
        policy.propose(request(budget))
        policy.observe(ran(size, fixed + slope * size))
    limit = policy.propose(request(budget)).limit
    assert limit is not None
    assert limit <= fits
    for _ in range(4):
        policy.observe(ran(limit, fixed + slope * limit))
        limit = policy.propose(request(budget)).limit or 0
        assert limit <= fits
    assert limit >= 0.9 * fits - 1 or fixed > slope * fits


def test_it_trusts_no_further_than_what_ran() -> None:
    policy = MemoryModel()
    for size in (8, 9):
        policy.propose(request(1 << 40))
        policy.observe(ran(size, 1000 * size * size))  # a square, which two points do not show
    limit = policy.propose(request(1000 * 4000)).limit
    assert limit is not None and limit <= 9 * TRUST


def test_parts_in_flight_share_the_budget() -> None:
    policy = MemoryModel()
    for size in (8, 16, 32, 64):
        policy.propose(request(10_000))
        policy.observe(ran(size, 100 * size))
    alone = policy.propose(request(6400)).limit
    shared = policy.propose(request(6400, workers=4, in_flight=4)).limit
    assert alone is not None and shared == alone // 4


def test_fewer_workers_run_where_not_all_get_a_request() -> None:
    policy = MemoryModel()
    for size in (64, 128, 256):
        policy.propose(request(1 << 30))
        policy.observe(ran(size, 100 * size))
    answer = policy.propose(request(100 * 260, unit="tokens", longest_request=100, workers=4, in_flight=4))
    assert answer.workers == 2 and answer.limit is not None and answer.limit >= 100


@pytest.mark.case(70)
def test_a_failure_is_a_bound_and_is_forgotten() -> None:
    policy = MemoryModel()
    policy.propose(request(None))
    policy.observe(ran(64, None))
    policy.propose(request(None))
    policy.observe(ran(128, None, oom_sizes=(128,), failure=FailureKind.OOM))
    assert policy.propose(request(None)).limit == 96
    for _ in range(LIFE + 1):
        limit = policy.propose(request(None)).limit
    assert limit == UNITS


def test_a_step_that_recovered_teaches_no_peak() -> None:
    policy = MemoryModel()
    policy.propose(request(1 << 20))
    policy.observe(ran(512, 10, oom_sizes=(512,)))
    assert not policy.state()["kinds"]["s"]["model"]["count"]


def test_smaller_parts_never_count_as_evidence_for_larger_ones() -> None:
    policy = MemoryModel()
    for _ in range(20):
        limit = policy.propose(request(1 << 24)).limit
        policy.observe(ran(4, 4000 + 400))  # something else in the chain keeps the parts at 4 rows
    assert limit is not None and policy.state()["kinds"]["s"]["fits"] == 4
    assert policy.state()["kinds"]["s"]["model"]["xs"] == [4, 4]


def reading(in_use: int, peak: int) -> MemoryReading:
    return MemoryReading(capacity=1 << 30, in_use=in_use, usable=(1 << 30) - in_use, peak=peak, pressure=0.1)


def test_a_peak_that_shows_in_the_next_reading_is_learned() -> None:
    policy = MemoryModel()
    before = reading(1000, 1000)
    policy.propose(request(None, memory=before))
    policy.observe(replace(ran(8, None), memory_before=before))
    policy.propose(request(None, memory=reading(1000, 51_000)))
    assert policy.state()["kinds"]["s"]["peak"] == 50_000


def test_a_mark_that_stands_where_this_size_set_it_is_learned_again_and_no_other() -> None:
    policy = MemoryModel()
    before, after = reading(1000, 1000), reading(1000, 51_000)
    for size, expected in ((8, 1.0), (8, 1.99), (4, 1.99)):
        policy.propose(request(None, memory=before))
        policy.observe(replace(ran(size, None), memory_before=before))
        policy.propose(request(None, memory=after))
        assert policy.state()["kinds"]["s"]["model"]["count"] == pytest.approx(expected)
        before = after


def test_of_a_step_in_small_parts_the_next_reading_tells_nothing() -> None:
    """It was looked at what rows need, and most of what was in use is the result: no later part needs it."""
    policy = MemoryModel()
    before, after = reading(1000, 1000), reading(1000, 900_000)
    looked_at = replace(ran(8, None), memory_before=before, calibration=True)
    policy.propose(request(None, memory=before))
    for report, learned in ((looked_at, False), (replace(looked_at, graph_captures=1), True)):
        policy.observe(report)
        policy.propose(request(None, memory=after))
        assert bool(policy._kind(report.signature).model.count) == learned


def test_memory_that_stayed_in_use_is_not_a_peak() -> None:
    policy = MemoryModel()
    before = reading(1000, 1000)
    policy.propose(request(None, memory=before))
    policy.observe(replace(ran(8, None), memory_before=before))
    policy.propose(request(None, memory=reading(51_000, 51_000)))
    assert policy.state()["kinds"]["s"]["peak"] == 0


@given(st.integers(1, 1 << 34), st.integers(1, 2048), st.integers(1, 1 << 16))
def test_roomy_says_yes_only_where_propose_allows_the_whole_batch(usable: int, size: int, slope: int) -> None:
    policy = MemoryModel()
    asked = request(None, memory=MemoryReading(capacity=1 << 34, in_use=0, usable=usable, peak=0, pressure=0))
    for part in (size, max(1, size // 2)):
        policy.propose(asked)
        policy.observe(ran(part, slope * part))
    if policy.roomy(asked):
        assert policy.propose(asked).limit == UNITS


def test_what_is_loaded_is_less_sure() -> None:
    policy = MemoryModel()
    for number, size in enumerate((8, 16, 32, 64, 128) * 4):
        policy.propose(request(1 << 30))
        policy.observe(ran(size, int(100 * size * (1.02 if number % 2 else 0.98))))
    loaded = MemoryModel()
    loaded.restore(policy.state())
    budget = 100 * 100
    before, after = policy.propose(request(budget)).limit, loaded.propose(request(budget)).limit
    assert before is not None and after is not None and after < before


def test_auto_bounds_the_fastest_size_by_memory() -> None:
    policy = Auto()
    for number in range(40):
        asked = request(64 * 200, step=number)
        answer = policy.propose(asked)
        limit = answer.limit or UNITS
        assert limit <= 64
        policy.observe(replace(ran(limit, 200 * limit), seconds=1 / limit, step=number))
    assert "fit" in answer.reason


def test_auto_uses_graph_sizes() -> None:
    answer = Auto().propose(request(None, graph_sizes=(7, 30)))
    assert answer.limit in (7, 30) or not answer.split


def kind_of(*peaks: tuple[int, float], total: int = 1000) -> MemoryKind:
    kind = MemoryKind(risk=0.01, forgetting=0.99)
    for x, peak in peaks:
        kind.note(x)
        kind.learn(x, total, peak)
    return kind


def test_close_sizes_are_not_taken_for_a_slope() -> None:
    """28 and 29 rows were seen, and memory shrank by 1 %: half of them, not one row for ever."""
    kind = kind_of((28, 904.0), (29, 906.0))
    assert kind.largest(900.0, 1000, 0) == 14
    assert kind.largest(90.0, 1000, 0) == 2


def test_what_ran_with_room_to_spare_may_run_again() -> None:
    """The whole batch is not gathered: 627 rows need no more than the line through 35, 105 and 314 says of
    314."""
    kind = kind_of((35, 697.0), (105, 837.0), (314, 1253.0), (627, 1254.0), total=627)
    assert kind.largest(2360.0, 627, 0) == 627
    assert kind.largest(1260.0, 627, 0) < 627


def test_a_batch_larger_than_the_one_that_ran_has_to_be_predicted() -> None:
    kind = kind_of((35, 697.0), (105, 837.0), (314, 1253.0), (627, 1254.0), total=627)
    assert kind.largest(2360.0, 10_000, 0) < 627


def test_probing_goes_up_where_a_smaller_size_showed_no_peak() -> None:
    kind = kind_of((16, 1000.0))
    assert kind.largest(1010.0, 1000, 0, probe=True) == 8
    kind.note(8)
    assert kind.largest(1010.0, 1000, 0, probe=True) == 18
    assert kind.largest(1010.0, 1000, 0) == 8
    assert kind.largest(999.0, 1000, 0, probe=True) == 8
