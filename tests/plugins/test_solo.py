"""One worker instead of several: found where it is faster, cheap to rule out where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import SizingRequest, StepReport
from microbatch_policies.throughput import Throughput

UNITS = 16384
Speed = Callable[[int, int], float]
"""(units of a part, or 0 for the whole batch; workers) -> seconds of the step."""


def step(policy: Throughput, speed: Speed, **fields: object) -> tuple[int, int, str]:
    """One step; returns units of a part (0 for the whole batch), workers, and the reason."""
    request = SizingRequest(
        num_tokens=UNITS,
        num_requests=UNITS,
        bytes_per_unit=4096,
        largest_bytes_per_unit=4096,
        signature="f4[1024]",
        workers=2,
        **fields,  # type: ignore[arg-type]
    )
    answer = policy.propose(request)
    limit = answer.limit if answer.split and answer.limit and answer.limit < UNITS else None
    count = 1 if limit is None else -(-UNITS // limit)
    part, workers = (0, 1) if limit is None else (UNITS // count, answer.workers or 2)
    policy.observe(
        StepReport(
            step=0,
            num_tokens=UNITS,
            num_requests=UNITS,
            sizes=(UNITS,) if not part else (part,) * count,
            seconds=speed(part, workers),
            signature="f4[1024]",
            limit=limit,
            workers=workers,
        )
    )
    return part, workers, answer.reason


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
    """The first step on one worker starts the framework's threads, where the whole batch was not run before."""
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
