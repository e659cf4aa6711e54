"""The deterministic runtime itself: deadlocks, leftovers, livelocks, virtual time, errors of the chooser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.deterministic import (
    PCT,
    DeadlockError,
    DetRuntime,
    LeftBehindError,
    LivelockError,
    Preemptions,
    RandomWalk,
    Replay,
    explore,
    explore_all,
)
from tests.support.threads import no_thread_left


@pytest.fixture(params=["threads", "greenlets"])
def carrier(request: pytest.FixtureRequest) -> str:
    if request.param == "greenlets":
        pytest.importorskip("greenlet", reason="this carrier needs the greenlet package")
    return str(request.param)


def run(program: Any, carrier: str, strategy: Any = None, **options: Any) -> DetRuntime:
    with no_thread_left():
        runtime = DetRuntime(strategy, carrier=carrier, **options)
        runtime.run(lambda: program(runtime))
    return runtime


def racing(runtime: DetRuntime) -> str:
    """Two tasks append in an order that the schedule decides."""
    log: list[str] = []

    def task(name: str) -> None:
        for _ in range(3):
            runtime.point(name)
            log.append(name)

    tasks = [runtime.spawn(lambda n=n: task(n), name=n) for n in "ab"]  # type: ignore[misc]
    for spawned in tasks:
        spawned.join()
    return "".join(log)


def order(strategy: Any, carrier: str) -> str:
    seen: list[str] = []
    run(lambda runtime: seen.append(racing(runtime)), carrier, strategy)
    return seen[0]


@given(seed=st.integers(0, 10_000))
def test_the_same_seed_gives_the_same_schedule_on_both_carriers(seed: int) -> None:
    pytest.importorskip("greenlet", reason="compares with greenlets")
    for strategy in (RandomWalk, PCT):
        assert order(strategy(seed), "threads") == order(strategy(seed), "greenlets")


@given(seed=st.integers(0, 10_000))
def test_recorded_choices_replay(seed: int) -> None:
    seen: list[str] = []
    runtime = run(lambda r: seen.append(racing(r)), "threads", RandomWalk(seed))
    run(lambda r: seen.append(racing(r)), "threads", Replay(json.loads(runtime.schedule())))
    assert seen[0] == seen[1]


def test_bounded_search_reaches_every_order(carrier: str) -> None:
    seen: set[str] = set()
    outcome = explore_all(lambda r: seen.add(racing(r)), preemptions=6, carrier=carrier)
    assert len(seen) == 20  # 6 over 3
    assert outcome.schedules >= 20


def test_a_deadlock_is_a_table_of_who_waits_where(carrier: str) -> None:
    def program(runtime: DetRuntime) -> None:
        first, second = runtime.gate(), runtime.gate()
        task = runtime.spawn(lambda: second.wait() and None, name="other")
        runtime.point("about to wait")
        first.wait()
        task.join()

    with pytest.raises(DeadlockError) as caught:
        run(program, carrier)
    text = str(caught.value)
    assert "task 0 'main' waits in gate 1" in text
    assert "task 1 'other' waits in gate 2" in text
    assert "schedule: [" in text


def test_a_task_left_behind_is_an_error_and_is_unwound(carrier: str) -> None:
    unwound: list[int] = []

    def parked(runtime: DetRuntime) -> None:
        try:
            runtime.gate().wait()
        finally:
            unwound.append(1)

    with pytest.raises(LeftBehindError, match="'parked' waits in gate"):
        run(lambda runtime: runtime.spawn(lambda: parked(runtime), name="parked"), carrier)
    assert unwound == [1]


def test_a_livelock_ends(carrier: str) -> None:
    def program(runtime: DetRuntime) -> None:
        while True:
            runtime.point("round and round")

    with pytest.raises(LivelockError):
        run(program, carrier, max_steps=1000)


def test_time_moves_only_when_nobody_can_run(carrier: str) -> None:
    def program(runtime: DetRuntime) -> None:
        gate, times = runtime.gate(), []

        def late() -> None:
            assert gate.wait(20.0) is False
            times.append(runtime.monotonic())

        task = runtime.spawn(late, name="late")
        assert runtime.gate().wait(5.0) is False
        times.append(runtime.monotonic())
        assert task.join(1.0) is False
        assert task.join() is True
        assert times == [5.0, 20.0]

    run(program, carrier)


def test_eager_limits_may_pass_although_somebody_can_run(carrier: str) -> None:
    results: set[bool] = set()

    def program(runtime: DetRuntime) -> None:
        gate = runtime.gate()
        task = runtime.spawn(lambda: results.add(gate.wait(5.0)), name="waiter")
        runtime.point("x")
        gate.open()
        task.join()

    explore_all(program, preemptions=2, carrier=carrier).check()
    assert results == {True}
    explore_all(program, preemptions=2, carrier=carrier, eager_timeouts=True).check()
    assert results == {True, False}


def test_an_error_of_the_chooser_ends_the_run_untouched(carrier: str) -> None:
    class Stop(BaseException):
        pass

    class Stopping:
        def choose(self, candidates: Any, current: Any) -> int:
            raise Stop

    def program(runtime: DetRuntime) -> None:
        try:
            racing(runtime)
        except Exception:  # noqa: BLE001 - what code under test may do
            pytest.fail("the code under test saw the end of its run")

    with pytest.raises(Stop):
        run(program, carrier, Stopping())


def test_an_error_in_a_task_is_raised_at_the_end(carrier: str) -> None:
    def program(runtime: DetRuntime) -> None:
        runtime.spawn(lambda: {}["missing"], name="failing").join()

    with pytest.raises(KeyError):
        run(program, carrier)


def test_faults_strike_at_points(carrier: str) -> None:
    def strike(label: str) -> None:
        if label == "here":
            raise ValueError("struck")

    def program(runtime: DetRuntime) -> None:
        runtime.point("there")
        with pytest.raises(ValueError, match="struck"):
            runtime.point("here")

    run(program, carrier, fault=strike)


def test_a_failing_schedule_is_in_the_note(carrier: str) -> None:
    def program(runtime: DetRuntime) -> None:
        assert racing(runtime) != "bbbaaa"

    outcome = explore_all(program, preemptions=2, carrier=carrier)
    with pytest.raises(AssertionError) as caught:
        outcome.check()
    assert json.dumps(list(outcome.choices)) in caught.value.__notes__[-1]
    assert explore(program, range(5), strategy="random", carrier=carrier).schedules <= 5


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), max_size=4))
def test_no_preemption_gives_the_steady_order(switches: list[tuple[int, int]]) -> None:
    assert order(Preemptions(), "threads") == "aaabbb"
    assert sorted(order(Preemptions(switches), "threads")) == list("aaabbb")
