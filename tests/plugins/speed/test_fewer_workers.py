"""Fewer workers instead of all: found where they are faster, cheap to rule out where they are not, cold or
warm."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import SizingRequest, StepReport
from microbatch_policies.speed.fewer_workers import ladder
from microbatch_policies.speed.throughput import Throughput

UNITS = 16384
Speed = Callable[[int, int], float]
"""(units of a part, or 0 for the whole batch; workers) -> seconds of the step."""
Cold = Callable[[int, int], float]
"""The same -> factor by which this step is slower."""


def step(
    policy: Throughput, speed: Speed, cold: Cold | None = None, crew: int = 2, **fields: object
) -> tuple[int, int, str]:
    """One step, and if it compares a size with the settled one, the next; returns units of a part (0 for the
    whole batch), workers, and the reason.

    A cold step takes longer by that factor: its first parts do.
    """
    request = SizingRequest(
        num_tokens=UNITS,
        num_requests=UNITS,
        bytes_per_unit=4096,
        largest_bytes_per_unit=4096,
        signature="f4[1024]",
        workers=crew,
        **fields,  # type: ignore[arg-type]
    )
    answer = policy.propose(request)
    limit = answer.limit if answer.split and answer.limit and answer.limit < UNITS else None
    count = 1 if limit is None else -(-UNITS // limit)
    part, workers = (0, 1) if limit is None else (UNITS // count, answer.workers or crew)
    warm = speed(part, workers)
    seconds = warm * (1.0 if cold is None else cold(part, workers))
    policy.observe(
        StepReport(
            step=0,
            num_tokens=UNITS,
            num_requests=UNITS,
            sizes=(UNITS,) if not part else (part,) * count,
            seconds=seconds,
            ubatch_seconds=part_seconds(count, warm * workers, seconds * workers) if part else (),
            signature="f4[1024]",
            limit=limit,
            workers=workers,
        )
    )
    if answer.reason.startswith("comparing"):
        return step(policy, speed, cold, crew, **fields)
    return part, workers, answer.reason


def part_seconds(count: int, warm: float, seconds: float) -> tuple[float, ...]:
    """Times of `count` parts: all the same but for the first eighth, which takes what the step does beyond
    warm."""
    slow = max(1, count // 8)
    return (warm / count + (seconds - warm) / slow,) * slow + (warm / count,) * (count - slow)


class ColdFirst:
    """The first step with each number of workers and size is slower by a factor."""

    def __init__(self, factor: Callable[[int, int], float]) -> None:
        self._factor = factor
        self._seen: set[tuple[int, int]] = set()

    def __call__(self, part: int, workers: int) -> float:
        if not part or (part, workers) in self._seen:
            return 1.0
        self._seen.add((part, workers))
        return self._factor(part, workers)


def bowl(best: int, part: int) -> float:
    return 0.02 * (1 + 0.1 * abs((part / best) ** 0.5 - (best / part) ** 0.5))


def python_heavy(part: int, workers: int) -> float:
    """Two threads wait for the interpreter; one does not, and likes parts of twice the size."""
    if not part:
        return 0.08
    return 1.5 * bowl(512, part) if workers > 1 else bowl(1024, part)


def numpy_heavy(part: int, workers: int) -> float:
    if not part:
        return 0.05
    return bowl(512, part) * (1 if workers > 1 else 1.4)


def test_a_chain_of_small_operations_ends_on_one_worker() -> None:
    policy = Throughput()
    for _ in range(25):
        part, workers, reason = step(policy, python_heavy)
    assert workers == 1
    assert part in (512, 1024, 2048)
    assert "on one worker is faster than on 2" in reason


def test_work_that_two_threads_share_stays_on_two_and_costs_one_step_to_see() -> None:
    policy = Throughput()
    seen = [step(policy, numpy_heavy) for _ in range(30)]
    assert sum(workers == 1 and part > 0 for part, workers, _ in seen) == 1
    assert seen[-1][1] == 2


def test_a_cold_first_time_gets_a_second_chance() -> None:
    """The first step on one worker starts the framework's threads, where the whole batch was not run
    before."""
    policy, alone = Throughput(), []

    def speed(part: int, workers: int) -> float:
        if workers == 1 and part:
            alone.append(part)
        cold = 2.2 if len(alone) == 1 and workers == 1 else 1.0
        return 1.3 * bowl(512, part) if workers > 1 else cold * bowl(512, max(part, 1))

    for _ in range(30):
        _, workers, _ = step(policy, speed, limit=4096)
    assert workers == 1


def test_it_settles_after_ten_measured_steps_and_a_cold_one() -> None:
    for speed in (python_heavy, numpy_heavy):
        policy = Throughput()
        seen = [step(policy, speed) for _ in range(40)]
        assert len(set(seen[11:])) == 1


def test_one_worker_is_not_asked_for_where_there_is_one() -> None:
    policy = Throughput()
    request = SizingRequest(num_tokens=UNITS, num_requests=UNITS, bytes_per_unit=4096, workers=1)
    for _ in range(30):
        answer = policy.propose(request)
        assert answer.workers is None
        limit = answer.limit or UNITS
        policy.observe(
            StepReport(
                step=0,
                num_tokens=UNITS,
                num_requests=UNITS,
                sizes=(limit,) * (UNITS // limit or 1),
                seconds=0.02,
                limit=answer.limit,
            )
        )


def test_what_was_learned_survives_a_restart() -> None:
    policy = Throughput()
    for _ in range(25):
        step(policy, python_heavy)
    again = Throughput()
    again.restore(json.loads(json.dumps(policy.state())))
    seen = [step(again, python_heavy) for _ in range(12)]
    assert seen[-1][1] == 1


def test_state_without_one_worker_is_still_taken() -> None:
    policy = Throughput()
    for _ in range(25):
        step(policy, numpy_heavy)
    state = json.loads(json.dumps(policy.state()))
    state["kinds"] = [entry[:2] for entry in state["kinds"]]
    Throughput().restore(state)


@given(factor=st.floats(0.2, 5.0), best=st.sampled_from([64, 256, 1024]))
def test_the_choice_is_near_the_best_of_both(factor: float, best: int) -> None:
    def speed(part: int, workers: int) -> float:
        if not part:
            return 0.2
        return bowl(best, part) * (factor if workers == 1 else 1.0)

    policy = Throughput()
    for _ in range(30):
        part, workers, _ = step(policy, speed)
    fastest = 0.02 * min(1.0, factor)
    assert speed(part, workers) <= 1.12 * fastest


def short_operations(part: int, workers: int) -> float:
    """A chain of 8 torch operations over 64 MiB as measured: 57 ms on two workers, 31 ms on one."""
    if not part:
        return 0.2
    return 2.85 * bowl(512, part) if workers > 1 else 1.55 * bowl(512, part)


@pytest.mark.parametrize("factor", [1.0, 1.5, 119 / 31, 10.0])
def test_a_cold_first_step_on_one_worker_does_not_dismiss_it(factor: float) -> None:
    policy, cold = Throughput(), ColdFirst(lambda part, workers: factor if workers == 1 else 1.0)
    for _ in range(25):
        _, workers, _ = step(policy, short_operations, cold)
    assert workers == 1


@given(
    factors=st.lists(st.floats(1.0, 4.0), min_size=40, max_size=40),
    alone=st.floats(0.2, 5.0),
    best=st.sampled_from([64, 256, 1024]),
)
def test_with_every_first_step_cold_the_choice_is_near_the_best(
    factors: list[float], alone: float, best: int
) -> None:
    def speed(part: int, workers: int) -> float:
        if not part:
            return 0.2
        return bowl(best, part) * (alone if workers == 1 else 1.0)

    policy, draws = Throughput(), itertools.cycle(factors)
    cold = ColdFirst(lambda part, workers: next(draws))
    for _ in range(70):
        part, workers, reason = step(policy, speed, cold)
    while reason.startswith("measuring"):
        part, workers, reason = step(policy, speed, cold)
    assert speed(part, workers) <= 1.12 * 0.02 * min(1.0, alone)


@pytest.mark.parametrize("factor", [1.5, 2.5])
def test_a_cold_step_costs_at_most_one_more_to_rule_one_worker_out(factor: float) -> None:
    policy, cold = Throughput(), ColdFirst(lambda part, workers: factor)
    seen = [step(policy, numpy_heavy, cold) for _ in range(40)]
    assert sum(workers == 1 and part > 0 for part, workers, _ in seen) <= 2
    assert seen[-1][1] == 2


def test_what_is_far_slower_is_not_tried_twice_for_being_cold() -> None:
    policy, cold = Throughput(), ColdFirst(lambda part, workers: 2.0)
    seen = [
        step(policy, lambda part, workers: (5 if workers == 1 and part else 1) * bowl(512, part or 64), cold)
        for _ in range(40)
    ]
    assert sum(workers == 1 and part > 0 for part, workers, _ in seen) == 1


def test_a_step_that_was_slow_in_all_parts_is_tried_again_when_the_contenders_are() -> None:
    calls = 0

    def speed(part: int, workers: int) -> float:
        nonlocal calls
        calls += workers == 1 and part > 0
        return short_operations(part, workers) * (4 if workers == 1 and calls == 1 else 1)

    policy = Throughput()
    seen = [step(policy, speed) for _ in range(370)]
    assert seen[15][1] == 2
    assert seen[-1][1] == 1


def test_few_parts_do_not_tell_a_cold_step() -> None:
    """Three parts: which of them was slow cannot be said, so the first time is only an upper bound."""
    policy, alone = Throughput(), 0

    def speed(part: int, workers: int) -> float:
        nonlocal alone
        if not part:
            return 1.0
        alone += workers == 1
        even = 3.0 if alone == 1 and workers == 1 else 1.0
        return even * bowl(UNITS // 2, part) * (1 if workers == 1 else 1.6)

    for _ in range(30):
        _, workers, _ = step(policy, speed)
    assert workers == 1


@pytest.mark.parametrize(("workers", "counts"), [(1, ()), (2, (1,)), (3, (1,)), (4, (2, 1)), (12, (6, 3, 1))])
def test_numbers_of_workers_are_tried_by_halves(workers: int, counts: tuple[int, ...]) -> None:
    assert ladder(workers) == counts


@pytest.mark.parametrize("fastest", [8, 4, 2, 1])
def test_the_fastest_number_of_workers_is_found(fastest: int) -> None:
    def speed(part: int, workers: int) -> float:
        if not part:
            return 0.5
        doublings = abs(workers.bit_length() - fastest.bit_length())
        return bowl(512, part) * 1.5**doublings

    policy = Throughput()
    seen = [step(policy, speed, crew=8) for _ in range(40)]
    assert seen[-1][1] == fastest
    assert len(set(seen[30:])) == 1
    if fastest == 8:  # one step for one worker, and one for half of them
        assert sum(0 < workers < 8 and part > 0 for part, workers, _ in seen) == 2


def test_workers_learned_come_back_and_foreign_ones_are_refused() -> None:
    policy = Throughput()
    for _ in range(40):
        step(policy, lambda part, workers: bowl(512, part or 64) * (1 if workers == 2 else 2), crew=4)
    state = json.loads(json.dumps(policy.state()))
    again = Throughput()
    again.restore(state)
    assert {count for count, _ in state["kinds"][0][2]} == {1, 2}
    state["kinds"][0][2].append([3, state["kinds"][0][1]])
    with pytest.raises(ValueError, match="workers"):
        Throughput().restore(state)
