"""`throughput`: good at once, settled soon, cheap then, and awake when times change."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.speed.constants import COST_START, TARGET_BYTES
from microbatch_policies.speed.first_size import start_size
from microbatch_policies.speed.throughput import Throughput

Speed = Callable[[int, int], float]
"""(units of a part, or 0 for the whole batch; units of the batch) -> seconds of the step."""


def request(num_tokens: int = 16384, row_bytes: int = 4096, **fields: object) -> SizingRequest:
    return SizingRequest(
        num_tokens=num_tokens,
        num_requests=num_tokens,
        bytes_per_unit=row_bytes,
        largest_bytes_per_unit=row_bytes,
        signature="f4[1024]",
        workers=2,
        **fields,  # type: ignore[arg-type]
    )


def step(policy: Throughput, asked: SizingRequest, speed: Speed) -> int:
    """One step, and if it compares a size with the settled one, the next; returns the units of a part, 0 for
    the whole batch."""
    answer = policy.propose(asked)
    part = ran(policy, asked, answer, speed)
    return step(policy, asked, speed) if answer.reason.startswith("comparing") else part


def ran(policy: Throughput, asked: SizingRequest, answer: Proposal, speed: Speed) -> int:
    """One step, reported."""
    limit = answer.limit if answer.split and answer.limit and answer.limit < asked.num_tokens else None
    count = 1 if limit is None else -(-asked.num_tokens // limit)
    part = 0 if count == 1 else asked.num_tokens // count
    policy.observe(
        StepReport(
            step=asked.step,
            num_tokens=asked.num_tokens,
            num_requests=asked.num_requests,
            sizes=(asked.num_tokens,) if count == 1 else (part,) * count,
            seconds=speed(part, asked.num_tokens),
            signature=asked.signature,
            limit=limit if count > 1 else None,
        )
    )
    return part


def chain_of_ops(part: int, units: int) -> float:
    return 0.2 if not part else 0.02 * (1 + 0.1 * math.log2(part / 512) ** 2) + units / part * 1e-5


def matrix_product(part: int, units: int) -> float:
    return units * 1e-5 if not part else units * 1e-5 * (1 + 8 / part) + units / part * 1e-5


def trivial(part: int, units: int) -> float:
    return 5e-6 if not part else 1e-4


def test_cache_bound_work_settles_near_the_cache_within_fourteen_steps() -> None:
    policy = Throughput()
    sizes = [step(policy, request(), chain_of_ops) for _ in range(30)]
    assert len(set(sizes[14:])) == 1
    assert chain_of_ops(sizes[-1], 16384) <= 1.06 * chain_of_ops(512, 16384)


def test_the_first_step_is_good_already() -> None:
    assert chain_of_ops(step(Throughput(), request(), chain_of_ops), 16384) < 0.25 * chain_of_ops(0, 16384)


def test_matrix_products_end_whole_or_as_fast() -> None:
    policy = Throughput()
    for _ in range(20):
        last = step(policy, request(2048, 2048), matrix_product)
    assert matrix_product(last, 2048) <= matrix_product(0, 2048) / 0.97


@pytest.mark.pitfall(30)
def test_tiny_work_is_never_cut() -> None:
    policy = Throughput()
    assert {step(policy, request(100, 100), trivial) for _ in range(200)} == {0}


def test_tiny_input_with_much_work_is_cut_in_the_end() -> None:
    policy = Throughput()
    sizes = [
        step(policy, request(512, 256), lambda part, units: 0.4 if not part else 0.1 + 0.01 / part)
        for _ in range(20)
    ]
    assert sizes[0] == 0 and sizes[-1] > 0


def test_settled_it_returns_the_same_object() -> None:
    """Until a size is compared with it."""
    policy, asked = Throughput(), request()
    answers = []
    for _ in range(600):
        answers.append(policy.propose(asked))
        ran(policy, asked, answers[-1], chain_of_ops)
    again = sum(answer is before for before, answer in itertools.pairwise(answers[-100:]))
    assert again >= 85


def test_the_cold_first_call_is_not_believed() -> None:
    policy = Throughput()
    first = step(policy, request(), lambda part, units: 0.4)
    assert step(policy, request(), chain_of_ops) == first


def test_noise_and_load_that_lasts_change_nothing() -> None:
    """Every other step takes 1.8 times as long, then all five times: side by side, sizes are as before."""
    policy = Throughput()
    for _ in range(20):
        settled = step(policy, request(), chain_of_ops)
    seen = [
        step(policy, request(), lambda p, n, at=at: chain_of_ops(p, n) * (1.8 if at % 2 else 1))  # type: ignore[misc]
        for at in range(60)
    ]
    seen += [step(policy, request(), lambda p, n: 5 * chain_of_ops(p, n)) for _ in range(60)]
    assert seen.count(settled) > 90
    assert chain_of_ops(seen[-1], 16384) <= 1.06 * chain_of_ops(512, 16384)


@pytest.mark.parametrize("best", [32, 4096])
def test_another_best_size_is_followed(best: int) -> None:
    """Four doublings and three, as where a function's data outgrow a cache, or no more do."""

    def moved(part: int, units: int) -> float:
        return 0.2 if not part else 0.02 * (1 + 0.3 * abs(math.log2(part / best)))

    policy = Throughput()
    for _ in range(20):
        step(policy, request(), chain_of_ops)
    sizes = [step(policy, request(), moved) for _ in range(120)]
    assert moved(sizes[-1], 16384) <= 1.31 * 0.02


@pytest.mark.parametrize("seed", range(20))
def test_load_that_comes_and_goes_ends_near_the_best(seed: int) -> None:
    """A fifth of the steps takes twice as long, those of the search too."""
    policy, draw = Throughput(), random.Random(seed)
    sizes = [
        step(policy, request(), lambda p, n: chain_of_ops(p, n) * draw.choice([1, 1, 1, 1, 2]))
        for _ in range(150)
    ]
    near = [size for size in sizes[50:] if chain_of_ops(size, 16384) <= 1.15 * chain_of_ops(512, 16384)]
    assert len(near) >= 90


def test_another_size_of_the_same_rows_starts_where_the_first_settled() -> None:
    policy = Throughput()
    for _ in range(20):
        settled = step(policy, request(), chain_of_ops)
    assert step(policy, request(65536), chain_of_ops) == settled


def test_a_size_that_the_chain_does_not_allow_is_given_up() -> None:
    policy = Throughput()
    for number in range(30):
        answer = policy.propose(request(step=number))
        policy.observe(
            StepReport(
                step=number, num_tokens=16384, num_requests=16384, sizes=(128,) * 128, seconds=0.02,
                signature="f4[1024]", limit=128,
            )
        )  # fmt: skip
    assert answer == policy.propose(request(step=31))


def test_it_stays_below_the_limit_of_the_chain() -> None:
    policy = Throughput()
    for _ in range(20):
        assert 0 < step(policy, request(limit=100), chain_of_ops) <= 100


@given(st.integers(2, 1 << 22), st.integers(1, 8), st.integers(1, 1 << 20))
def test_no_worker_is_left_over_at_the_end(num_tokens: int, workers: int, row_bytes: int) -> None:
    answer = Throughput().propose(replace(request(num_tokens, row_bytes), workers=workers))
    if answer.split and answer.limit is not None and answer.limit < num_tokens:
        count = -(-num_tokens // answer.limit)
        # with more parts than that, whole rows do not divide so finely, and one part more is nothing
        assert count % workers == 0 or count * count > num_tokens


def test_a_time_measured_elsewhere_counts() -> None:
    policy = Throughput()
    step(policy, request(), chain_of_ops)
    for size in (64, 128, 256, 512, 1024, 2048):
        for _ in range(2):
            policy.observe(
                StepReport(
                    step=0, num_tokens=size, num_requests=size, sizes=(size,),
                    seconds=1e-6 * size * (1 if size == 1024 else 2), signature="f4[1024]",
                )
            )  # fmt: skip
    assert policy.propose(request()).limit == 1024


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(1 << 20, 4096), 256),  # 1 MiB of rows
        (request(16384, 4096), 64),  # 256 parts
        (request(8192, 256), 32),  # 256 parts, though 1 MiB would be 4096 rows
        (request(2048, 2048), 32),
        (request(256, 150528), 6),  # images
        (request(100, 100), None),  # tiny: whole first
        (request(3, 1 << 20), None),  # fewer rows than two per worker
        (request(1_000_000, 0), 3906),  # nothing known but rows
        (request(1_000_000, 8, unit="cost"), COST_START),
        (request(COST_START, 8, unit="cost"), None),
        (request(1_000_000, 8, unit="cost", longest_request=50_000), 50_000),
    ],
)
def test_start(asked: SizingRequest, expected: int | None) -> None:
    assert start_size(asked) == expected


@given(st.integers(4, 1 << 24), st.integers(0, 1 << 24))
def test_the_start_is_within_the_batch_and_near_the_cache(num_tokens: int, row_bytes: int) -> None:
    size = start_size(request(num_tokens, row_bytes))
    if size is not None:
        assert 1 <= size <= num_tokens
        assert size == 1 or not row_bytes or size * row_bytes <= TARGET_BYTES


@pytest.mark.parametrize("near", [-0.1, 1, True, "0.05", float("nan")])
def test_a_bad_tolerance_is_named(near: object) -> None:
    with pytest.raises(ValueError, match="near"):
        Throughput(near=near)  # type: ignore[arg-type]


def test_sizes_are_those_of_captured_graphs() -> None:
    """Rounded where the search knows of it, so that what was asked for is what runs and is learned."""
    policy, graphs = Throughput(), (3, 24, 96, 700)
    sizes = [step(policy, request(graph_sizes=graphs), chain_of_ops) for _ in range(20)]
    limits = {policy.propose(request(graph_sizes=graphs)).limit}
    assert limits <= set(graphs)
    assert len(set(sizes[14:])) == 1 and sizes[-1] > 0


def elsewhere(size: int, pace: float, **fields: object) -> StepReport:
    """A time of one part that nobody asked for."""
    known = {"sizes": (size,), "signature": "f4[1024]", "seconds": pace * size, **fields}
    return StepReport(step=0, num_tokens=size, num_requests=size, **known)  # type: ignore[arg-type]


def taught(scale: float = 1.0, **fields: object) -> Throughput:
    """A policy that was told times of five sizes before it was asked for any; 1024 is the fastest."""
    policy = Throughput()
    for size in (64, 256, 1024, 4096, 8192):
        # one part on one of two workers takes as long as two parts of the step do side by side
        policy.observe(elsewhere(size, scale * 2 * chain_of_ops(size, 16384) / 16384, **fields))
    return policy


def test_times_measured_before_any_batch_are_not_lost() -> None:
    assert Throughput().propose(request()).limit == 64
    assert taught().propose(request()).limit == 1024
    assert taught().propose(request(1 << 20)).limit == 1024, "for batches of every size"
    assert taught().propose(request(800)).limit == 200, "of those that such a batch can have"


def test_they_are_of_such_rows_only_and_of_sizes_that_were_chosen() -> None:
    first = Throughput().propose(request()).limit
    assert taught(signature="i8[7]").propose(request()).limit == first
    assert taught(schedule="whole").propose(request()).limit == first


def test_the_first_step_is_cold_and_has_the_best_of_them_then_the_search_goes_on() -> None:
    policy = taught()
    sizes = [step(policy, request(), chain_of_ops) for _ in range(30)]
    assert sizes[0] == 1024 and len(set(sizes)) > 1
    assert len(set(sizes[14:])) == 1
    assert chain_of_ops(sizes[-1], 16384) <= 1.06 * chain_of_ops(512, 16384)


@pytest.mark.parametrize("scale", [0.1, 10])
def test_times_of_another_machine_do_no_lasting_harm(scale: float) -> None:
    policy = taught(scale)
    sizes = [step(policy, request(), chain_of_ops) for _ in range(80)]
    assert chain_of_ops(sizes[-1], 16384) <= 1.06 * chain_of_ops(512, 16384)


def test_a_taught_size_that_may_not_run_is_not_asked_for_for_ever() -> None:
    policy, seen = taught(), set()
    for number in range(20):
        answer = policy.propose(request(step=number))
        seen.add(answer.limit)
        policy.observe(elsewhere(16384, 1e-6, sizes=(32,) * 512, limit=32, schedule="sequential"))
    assert len(seen) > 1


def test_what_was_kept_does_not_hide_what_was_taught() -> None:
    kept = Throughput()
    for _ in range(20):
        step(kept, request(), chain_of_ops)
    for order in (0, 1):
        policy = Throughput()
        for act in [lambda p: p.restore(kept.state()), lambda p: p.observe(elsewhere(128, 1e-9))][
            :: 1 - 2 * order
        ]:
            act(policy)
        assert policy.propose(request()).limit == 128
