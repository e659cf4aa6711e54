"""How many threads a pool has: over callers at the same time, nested runs, and where none can be started."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import MicrobatchError, ThreadStartError
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier
from tests.support.threads import no_thread_left

RUNTIME = ThreadRuntime()


def ignore(error: BaseException) -> None:
    """Nobody has to be stopped."""


def take_all(todo: deque[int], done: list[int]) -> Callable[[], None]:
    """A body like those of a parallel step: it takes what is left."""

    def body() -> None:
        while True:
            try:
                done.append(todo.popleft())
            except IndexError:
                return

    return body


def refusing(runtime: Any, kept: Callable[[int], bool], error: type[Exception] = RuntimeError) -> list[int]:
    """Make `runtime` start thread number n only where `kept(n)`; returns the numbers asked for, from 1."""
    asked: list[int] = []
    real = runtime.spawn

    def spawn(function: Any, *, name: str) -> Any:
        asked.append(len(asked) + 1)
        if not kept(len(asked)):
            raise error("can't start new thread")
        return real(function, name=name)

    runtime.spawn = spawn
    return asked


@pytest.mark.case(41)
@given(most=st.integers(0, 3), bodies=st.integers(1, 5), callers=st.integers(1, 6))
def test_callers_at_the_same_time_share_the_workers_that_there_may_be(
    most: int, bodies: int, callers: int
) -> None:
    """Each has all its work done, by itself where nobody is free."""
    with no_thread_left():
        pool, started, ended = WorkerPool(RUNTIME, most), threading.Barrier(callers), list[int]()

        def call() -> None:
            started.wait(30)
            for _ in range(3):
                todo = deque(range(7))
                fewer = pool.run_some([take_all(todo, ended)] * bodies, on_interrupt=ignore)
                assert not todo
                assert fewer is None or (
                    1 <= fewer.bodies < bodies and fewer.reason == "the others are busy with other steps"
                )

        threads = [threading.Thread(target=call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(ended) == sorted([*range(7)] * 3 * callers)
        assert pool.num_threads <= most
        pool.shutdown()


def test_under_every_schedule_no_more_threads_are_started_than_there_may_be() -> None:
    def program(runtime: DetRuntime) -> None:
        asked = refusing(runtime, lambda number: True)
        pool, done = WorkerPool(runtime, 1), list[int]()

        def call() -> None:
            pool.run_some([take_all(deque(range(2)), done)] * 3, on_interrupt=ignore)

        pool.run_some([take_all(deque(range(2)), done)] * 3, on_interrupt=ignore)
        asked.clear()
        others = [runtime.spawn(call, name=f"caller {number}") for number in range(2)]
        for other in others:
            other.join()
        assert len(asked) == len(others), "a worker was hired above the bound"
        assert len(done) == 6 and pool.num_threads == 1
        pool.shutdown()

    explore_all(program, preemptions=2, limit=400, carrier=fastest_carrier()).check()
    explore(program, range(100), carrier=fastest_carrier(), spurious=2).check()


@pytest.mark.case(39)
def test_nested_runs_do_without_workers_that_their_parents_have() -> None:
    pool, done = WorkerPool(RUNTIME, 2), deque[int]()

    def level(depth: int) -> None:
        done.append(depth)
        if depth < 4:
            pool.run_some([lambda: level(depth + 1)] * 3, on_interrupt=ignore)

    level(0)
    assert pool.num_threads == 2
    assert done.count(4) >= 1
    pool.shutdown()


@pytest.mark.case(41)
@pytest.mark.parametrize("bodies", [2, 5])
def test_a_run_that_needs_all_its_workers_has_them_and_those_above_the_bound_end(bodies: int) -> None:
    with no_thread_left():
        pool, callers = WorkerPool(RUNTIME, 3), 6
        meeting = threading.Barrier(callers * bodies)

        def call() -> None:
            pool.run([lambda: meeting.wait(30) and None] * bodies)

        threads = [threading.Thread(target=call) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not meeting.broken
        wait_until(lambda: pool.num_threads <= 3)
        pool.run([lambda: None] * 4)
        assert pool.num_threads == 3
        pool.shutdown()


def wait_until(answer: Callable[[], bool]) -> None:
    """Ask until yes; a worker that ends is on the list until its thread has looked."""
    for _ in range(3000):
        if answer():
            return
        RUNTIME.gate().wait(0.01)
    raise AssertionError("it never came true")


def test_a_worker_above_the_bound_ends_under_every_schedule() -> None:
    def program(runtime: DetRuntime) -> None:
        pool = WorkerPool(runtime, 1)
        pool.run([lambda: None] * 3)
        other = runtime.spawn(lambda: pool.run([lambda: None] * 2), name="other caller")
        pool.run([lambda: None] * 3)
        other.join()
        roster = pool._held[0]
        pool.shutdown(None)
        assert (roster.workers, roster.claims) == ([], {})

    explore_all(program, preemptions=2, limit=400, carrier=fastest_carrier()).check()
    explore(program, range(100), carrier=fastest_carrier(), spurious=2).check()


@pytest.mark.case(28)
@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@given(bodies=st.integers(2, 6), at=st.integers(1, 6))
def test_where_a_thread_that_is_needed_cannot_be_started_no_body_begins(
    error: type[Exception], bodies: int, at: int
) -> None:
    def program(runtime: DetRuntime) -> None:
        asked = refusing(runtime, lambda number: number != at, error)
        pool, began = WorkerPool(runtime), list[int]()

        def attempt() -> None:
            pool.run([lambda: began.append(1)] * bodies)

        if at < bodies:
            with pytest.raises(ThreadStartError, match=f"'microbatch-{at}' cannot be started .*start new"):
                attempt()
            assert began == []
        attempt()
        assert len(began) == bodies and pool.num_threads == bodies - 1
        assert len(asked) <= bodies
        pool.shutdown()

    assert issubclass(ThreadStartError, MicrobatchError) and issubclass(ThreadStartError, RuntimeError)
    explore(program, range(3), carrier=fastest_carrier()).check()


@pytest.mark.case(28)
@given(bodies=st.integers(2, 6), at=st.integers(1, 6), error=st.sampled_from([RuntimeError, MemoryError]))
def test_bodies_that_are_alike_do_without_threads_that_cannot_be_started(
    bodies: int, at: int, error: type[Exception]
) -> None:
    def program(runtime: DetRuntime) -> None:
        refusing(runtime, lambda number: number < at, error)
        pool, todo, done = WorkerPool(runtime), deque(range(9)), list[int]()
        fewer = pool.run_some([take_all(todo, done)] * bodies, on_interrupt=ignore)
        assert sorted(done) == list(range(9))
        assert pool.num_threads == min(at, bodies) - 1
        if at < bodies:
            assert fewer is not None and fewer.bodies == at
            assert fewer.reason == (
                f"thread 'microbatch-{at}' cannot be started ({error.__name__}: can't start new thread)"
            )
        else:
            assert fewer is None
        pool.shutdown()

    explore(program, range(3), carrier=fastest_carrier()).check()


def test_a_new_roster_in_a_forked_child_has_the_same_bound() -> None:
    pool = WorkerPool(RUNTIME, 2)
    pool._held[0].process = -1
    assert pool._roster().most == 2
