"""The barrier under chosen schedules; each test is named after what CPython's and Java's suites hold of
theirs."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from microbatch.errors import ArgumentTypeError, ArgumentValueError, BarrierBrokenError, WaitTimeoutError
from microbatch.turns.barrier import Round, UBatchBarrier
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier

Party = Callable[[int], Any]


def parties(runtime: DetRuntime, party: Party, count: int) -> list[Any]:
    """Run `count` parties side by side; what each returned, or raised."""
    results: list[Any] = [None] * count

    def body(index: int) -> None:
        try:
            results[index] = party(index)
        except Exception as error:  # noqa: BLE001 - compared below
            results[index] = error

    tasks = [runtime.spawn(lambda i=i: body(i), name=f"party {i}") for i in range(count)]  # type: ignore[misc]
    for task in tasks:
        task.join()
    return results


def everywhere(program: Callable[[DetRuntime], None], *, preemptions: int = 2, seeds: int = 200) -> None:
    """Check `program` under bounded and drawn schedules."""
    explore_all(program, preemptions=preemptions, limit=400, carrier=fastest_carrier()).check()
    explore(program, range(seeds), carrier=fastest_carrier()).check()


def trying(call: Callable[[], Any]) -> Any:
    """What `call` returns, or raises, an interrupt included."""
    try:
        return call()
    except BaseException as error:  # noqa: BLE001 - compared by the caller
        return error


def kinds_of(results: list[Any]) -> list[str]:
    return sorted(type(result).__name__ for result in results)


@pytest.mark.case(1, 2)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_lock_step_and_reuse_for_ten_rounds(count: int) -> None:
    def program(runtime: DetRuntime) -> None:
        barrier, passed = UBatchBarrier(count, runtime), [0] * count

        def party(index: int) -> None:
            for round_number in range(1, 11):
                passed[index] = round_number
                barrier.wait()
                assert min(passed) >= round_number, "somebody passed before all had arrived"

        assert parties(runtime, party, count) == [None] * count
        assert barrier.generation == 10

    everywhere(program, preemptions=1, seeds=60)


@pytest.mark.case(5)
@pytest.mark.parametrize("count", [2, 3])
def test_places_are_a_permutation_and_the_last_to_arrive_is_0(count: int) -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(count, runtime)
        assert sorted(parties(runtime, lambda _: barrier.wait(), count)) == list(range(count))
        assert (barrier.n_waiting, barrier.broken) == (0, False)

    everywhere(program)


@pytest.mark.case(19)
def test_more_threads_than_parties_are_served_in_rounds() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime)
        assert sorted(parties(runtime, lambda _: barrier.wait(), 6)) == [0, 0, 0, 1, 1, 1]
        assert barrier.generation == 3

    everywhere(program)


@pytest.mark.case(16)
def test_a_fast_party_cannot_lap_a_slow_one() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier, log = UBatchBarrier(2, runtime), []

        def party(index: int) -> None:
            for round_number in range(3):
                barrier.wait()
                log.append(round_number)

        assert parties(runtime, party, 2) == [None, None]
        assert log == sorted(log)

    everywhere(program)


@pytest.mark.case(6)
def test_action_runs_once_a_round_before_anyone_passes() -> None:
    def program(runtime: DetRuntime) -> None:
        done: list[int] = []
        barrier = UBatchBarrier(3, runtime, action=lambda: done.append(len(done)))

        def party(_: int) -> list[int]:
            barrier.wait()
            first = len(done)
            barrier.wait()
            return [first, len(done)]

        assert all(counts[0] >= 1 and counts[1] == 2 for counts in parties(runtime, party, 3))
        assert done == [0, 1]

    everywhere(program)


@pytest.mark.case(7)
def test_an_action_that_raises_breaks_the_barrier_for_the_others() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(3, runtime, action=lambda: 1 // 0)  # type: ignore[arg-type,return-value]
        results = parties(runtime, lambda _: barrier.wait(), 3)
        assert kinds_of(results) == ["BarrierBrokenError", "BarrierBrokenError", "ZeroDivisionError"]

    everywhere(program)


@pytest.mark.case(8, 10)
def test_abort_frees_who_waits_and_refuses_who_comes() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(3, runtime)

        def party(index: int) -> int | None:
            if index == 2:
                barrier.abort("ubatch 1 failed")
                return None
            return barrier.wait()

        results = parties(runtime, party, 3)
        assert kinds_of(results) == ["BarrierBrokenError", "BarrierBrokenError", "NoneType"]
        assert "ubatch 1 failed" in str(results[0])
        with pytest.raises(BarrierBrokenError):
            barrier.wait()
        assert barrier.broken

    everywhere(program)


@pytest.mark.case(9)
def test_an_abort_before_anybody_waits_is_found_by_all_who_come() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime)
        barrier.abort("the model could not be loaded")
        results = parties(runtime, lambda _: barrier.wait(), 3)
        assert kinds_of(results) == ["BarrierBrokenError"] * 3
        assert all("the model could not be loaded" in str(result) for result in results)

    everywhere(program, seeds=40)


def test_an_abort_without_a_reason_is_one() -> None:
    barrier = UBatchBarrier(1)
    barrier.abort("")
    with pytest.raises(BarrierBrokenError, match="it was aborted"):
        barrier.wait(0)


@pytest.mark.case(14)
def test_resets_at_the_same_time_leave_it_like_new() -> None:
    """One of them may be late with what it found long ago."""

    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime)

        def waiting() -> None:
            with contextlib.suppress(BarrierBrokenError, WaitTimeoutError):
                barrier.wait(1.0)

        def resetting() -> None:
            barrier.reset()
            barrier.reset()

        bodies = [waiting, barrier.reset, resetting]
        tasks = [runtime.spawn(body, name=f"party {i}") for i, body in enumerate(bodies)]
        for task in tasks:
            task.join()
        if barrier.n_waiting == 0 and runtime.monotonic() == 0:
            assert not barrier.broken
            assert barrier.generation >= 2

    explore_all(program, preemptions=3, limit=3000, carrier=fastest_carrier()).check()


@pytest.mark.case(10, 19)
def test_a_broken_barrier_answers_every_call_at_once() -> None:
    """Nothing here may wait: with nobody else there, the deterministic runtime would call it a deadlock."""

    def program(runtime: DetRuntime) -> None:
        acted: list[int] = []
        barrier = UBatchBarrier(3, runtime, timeout=5.0, action=lambda: acted.append(1))
        barrier.abort("first reason")
        barrier.abort("second reason")
        for limit in (None, 0, 10.0):
            with pytest.raises(BarrierBrokenError, match="first reason"):
                barrier.wait(limit)
        assert (barrier.broken, barrier.n_waiting, barrier.generation, acted) == (True, 0, 0, [])
        barrier.reset()
        assert (barrier.broken, barrier.n_waiting, barrier.generation) == (False, 0, 1)
        assert runtime.monotonic() == 0

    everywhere(program, seeds=1)


@pytest.mark.case(11)
def test_a_limit_that_passes_is_told_to_the_late_one_and_breaks_it_for_the_others() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(3, runtime)
        results = parties(runtime, lambda i: barrier.wait(1.0 if i == 0 else None), 2)
        assert kinds_of(results) == ["BarrierBrokenError", "WaitTimeoutError"]
        assert isinstance(results[0], WaitTimeoutError)
        assert "2 of 3 parties" in str(results[0])

    everywhere(program)


@pytest.mark.case(13)
def test_limit_of_the_constructor_holds_where_wait_names_none() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime, timeout=5.0)
        with pytest.raises(WaitTimeoutError, match=r"5\.0 s"):
            barrier.wait()
        assert runtime.monotonic() == 5.0

    everywhere(program)


@pytest.mark.case(52)
def test_limit_racing_with_the_last_arrival_is_one_or_the_other_for_all() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime)
        results = parties(runtime, lambda i: barrier.wait(1.0 if i == 0 else None), 2)
        assert sorted(map(str, results)) == ["0", "1"] or kinds_of(results) == [
            "BarrierBrokenError",
            "WaitTimeoutError",
        ]

    explore_all(program, preemptions=3, limit=2000, eager_timeouts=True).check()
    explore(program, range(300), eager_timeouts=True).check()


@pytest.mark.case(53)
def test_wakes_for_nothing_change_nothing() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime)
        assert parties(runtime, lambda _: [barrier.wait(), barrier.wait()].count(2), 2) == [0, 0]
        assert barrier.generation == 2

    explore(program, range(200), spurious=5).check()


@pytest.mark.case(12)
def test_zero_limit_is_a_poll() -> None:
    barrier = UBatchBarrier(2)
    with pytest.raises(WaitTimeoutError):
        barrier.wait(0)
    assert UBatchBarrier(1).wait(0) == 0


@pytest.mark.case(3)
def test_single_party_passes_at_once_twice() -> None:
    barrier = UBatchBarrier(1)
    assert (barrier.wait(), barrier.wait(), barrier.generation) == (0, 0, 2)


@pytest.mark.case(14)
def test_reset_frees_waiters_with_an_error_and_makes_it_usable() -> None:
    outcomes = set()

    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime)
        waiter: list[Any] = []

        def wait() -> None:
            try:
                waiter.append(barrier.wait())
            except BarrierBrokenError as error:
                waiter.append(error)
                waiter.append(barrier.wait())

        task = runtime.spawn(wait, name="waiter")
        runtime.point("before or after it waits")
        barrier.reset()
        assert barrier.wait() in (0, 1)
        task.join()
        assert waiter[-1] in (0, 1)
        outcomes.add("reset" if "was reset" in str(waiter[0]) else "not")

    explore_all(program, preemptions=2, limit=400).check()
    assert outcomes == {"reset", "not"}


@pytest.mark.case(15)
@pytest.mark.parametrize("how", ["timeout", "abort", "action", "interrupt"])
def test_reset_makes_a_broken_barrier_usable(how: str) -> None:
    failing = [True]

    def action() -> None:
        if how == "action" and failing[0]:
            raise ValueError("action")
        if how == "interrupt" and failing[0]:
            raise KeyboardInterrupt

    def program(runtime: DetRuntime) -> None:
        failing[0] = True
        barrier = UBatchBarrier(2, runtime, action=action)
        if how == "abort":
            barrier.abort("test")
        else:
            count = 1 if how == "timeout" else 2
            results = parties(runtime, lambda _: trying(lambda: barrier.wait(1.0)), count)
            assert all(isinstance(result, BaseException) for result in results)
        assert barrier.broken
        failing[0] = False
        barrier.reset()
        assert not barrier.broken
        assert sorted(parties(runtime, lambda _: barrier.wait(), 2)) == [0, 1]

    everywhere(program, seeds=40)


@pytest.mark.case(14)
def test_reset_with_nobody_there_is_harmless() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime)
        barrier.reset()
        barrier.reset()
        assert sorted(parties(runtime, lambda _: barrier.wait(), 2)) == [0, 1]

    everywhere(program)


@pytest.mark.case(17)
def test_an_interrupt_of_one_waiter_breaks_it_for_the_others() -> None:
    """CPython's barrier leaves the others parked."""

    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(3, runtime)

        def party(index: int) -> Any:
            try:
                return barrier.wait()
            except KeyboardInterrupt as error:
                return error

        seen = [0]

        def strike(label: str) -> None:
            seen[0] += 1
            if label == "barrier" and seen[0] == 2:
                raise KeyboardInterrupt

        runtime._fault = strike
        assert kinds_of(parties(runtime, party, 2)) == ["BarrierBrokenError", "KeyboardInterrupt"]

    everywhere(program)


@pytest.mark.case(4)
@pytest.mark.parametrize(
    ("count", "error"),
    [
        (0, ArgumentValueError),
        (-1, ArgumentValueError),
        (65_537, ArgumentValueError),
        (True, ArgumentTypeError),
        (2.0, ArgumentTypeError),
        ("2", ArgumentTypeError),
    ],
)
def test_counts_that_are_none(count: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="num_parties"):
        UBatchBarrier(count)


def test_rounds_that_are_over_are_let_go() -> None:
    barrier = UBatchBarrier(1)
    rounds: list[weakref.ref[Round]] = []
    for _ in range(100):
        rounds.append(weakref.ref(barrier._round))
        barrier.wait(0)
    gc.collect()
    assert sum(each() is not None for each in rounds) <= 3
    assert barrier.generation == 100


@pytest.mark.case(53)
def test_a_wake_for_nothing_does_not_lengthen_the_limit() -> None:
    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(2, runtime)

        def disturbing() -> None:
            for _ in range(3):
                runtime.gate().wait(1.5)
                for gate in tuple(barrier._round.gates):
                    gate.open()

        task = runtime.spawn(disturbing, name="disturbing")
        with pytest.raises(WaitTimeoutError, match=r"5\.0 s"):
            barrier.wait(5.0)
        assert runtime.monotonic() == 5.0
        task.join()

    everywhere(program, seeds=10)


def test_real_threads_pass_a_thousand_rounds(pool: WorkerPool) -> None:
    barrier, places = UBatchBarrier(3, ThreadRuntime()), []
    pool.run([lambda: places.extend(barrier.wait(30) for _ in range(1000))] * 3)
    assert sorted(places) == [0] * 1000 + [1] * 1000 + [2] * 1000
    assert barrier.generation == 1000


@pytest.mark.bad_input(22)
@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan"), float("-inf")])
def test_a_limit_that_is_none_is_refused_and_breaks_nothing(timeout: float) -> None:
    barrier = UBatchBarrier(1)
    with pytest.raises(ArgumentValueError, match=f"timeout is {timeout}"):
        barrier.wait(timeout)
    assert not barrier.broken and barrier.wait(0) == 0
