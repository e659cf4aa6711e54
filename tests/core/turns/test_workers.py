"""Workers that live across steps: side by side, nested, interrupted, closed, collected."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ClosedError, WaitTimeoutError
from microbatch.turns.barrier import UBatchBarrier
from microbatch.turns.gates import Gate
from microbatch.turns.roster import Roster, Worker
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import Run, WorkerPool
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier
from tests.support.threads import no_thread_left

RUNTIME = ThreadRuntime()


def everywhere(program: Callable[[DetRuntime], None], seeds: int = 150) -> None:
    explore_all(program, preemptions=2, limit=500, carrier=fastest_carrier()).check()
    explore(program, range(seeds), carrier=fastest_carrier(), spurious=2).check()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_bodies_run_at_the_same_time_the_first_in_the_caller(count: int, pool: WorkerPool) -> None:
    meeting, seen = UBatchBarrier(count), []
    caller = RUNTIME.current()

    def body(index: int) -> None:
        meeting.wait(30)
        seen.append((index, RUNTIME.current() == caller))

    pool.run([lambda i=i: body(i) for i in range(count)])  # type: ignore[misc]
    assert sorted(seen) == [(index, index == 0) for index in range(count)]


@pytest.mark.case(46)
def test_threads_are_kept_for_the_next_run(pool: WorkerPool) -> None:
    names: set[str] = set()
    for _ in range(50):
        pool.run([lambda: names.add(threading.current_thread().name)] * 3)
    assert pool.num_threads == 2
    assert names == {"MainThread", "microbatch-1", "microbatch-2"}


@pytest.mark.case(39)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_runs_nest_to_any_depth(widths: list[int]) -> None:
    with no_thread_left():
        pool, leaves = WorkerPool(RUNTIME), []

        def level(depth: int) -> None:
            if depth == len(widths):
                leaves.append(1)
            else:
                pool.run([lambda: level(depth + 1)] * widths[depth])

        level(0)
        pool.shutdown()
    expected = 1
    for width in widths:
        expected *= width
    assert len(leaves) == expected


@pytest.mark.case(41)
def test_eight_callers_share_a_pool(pool: WorkerPool) -> None:
    done: list[int] = []

    def caller(number: int) -> None:
        for _ in range(25):
            mine: list[int] = []
            pool.run([partial(mine.append, number)] * 3)
            done.append(len(mine))

    tasks = [RUNTIME.spawn(lambda i=i: caller(i), name=f"caller {i}") for i in range(8)]  # type: ignore[misc]
    assert all(task.join(60) for task in tasks)
    assert done == [3] * 200
    assert pool.num_threads <= 16


def test_two_callers_under_every_schedule() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, done = WorkerPool(runtime), []
        other = runtime.spawn(lambda: pool.run([lambda: done.append(1)] * 2), name="other caller")
        pool.run([lambda: done.append(2)] * 2)
        other.join()
        pool.shutdown()
        assert sorted(done) == [1, 1, 2, 2]

    everywhere(program)


def test_an_escaping_error_is_raised_after_all_have_finished() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, finished = WorkerPool(runtime), []

        def body(index: int) -> None:
            runtime.point("body")
            finished.append(index)
            if index != 1:
                raise ValueError(f"body {index}")

        with pytest.raises(ValueError, match="body") as caught:
            pool.run([lambda i=i: body(i) for i in range(3)])  # type: ignore[misc]
        assert sorted(finished) == [0, 1, 2]
        assert len(caught.value.__notes__) == 1
        assert "another thread of the step raised ValueError" in caught.value.__notes__[0]
        pool.run([lambda: None] * 3)
        pool.shutdown()

    everywhere(program)


def test_an_interrupt_in_the_caller_stops_the_others_and_is_what_comes_out() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, stop, reasons = WorkerPool(runtime), runtime.gate(), []

        def interrupted() -> None:
            runtime.point("caller")
            raise KeyboardInterrupt

        def on_interrupt(error: BaseException) -> None:
            reasons.append(type(error))
            stop.open()

        with pytest.raises(KeyboardInterrupt):
            pool.run([interrupted, lambda: None if stop.wait() else None], on_interrupt=on_interrupt)  # noqa: RUF034
        assert reasons == [KeyboardInterrupt]
        pool.run([lambda: None] * 2)
        pool.shutdown()

    everywhere(program)


def test_an_interrupt_outranks_an_error_that_came_before(pool: WorkerPool) -> None:
    raised = RUNTIME.gate()

    def failing() -> None:
        raised.open()
        raise ValueError("first in time")

    def interrupted() -> None:
        assert raised.wait(30)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        pool.run([interrupted, failing])
    assert any("first in time" in note for note in caught.value.__notes__)


@pytest.mark.case(32)
@pytest.mark.parametrize("interrupts", [1, 2, 3])
def test_further_interrupts_while_the_first_is_handled_end_the_waiting(interrupts: int) -> None:
    """One while the others are waited for is taken and the waiting goes on; after the next one nobody is
    waited for."""

    def program(runtime: DetRuntime) -> None:
        pool, left, stuck = WorkerPool(runtime), [interrupts], runtime.gate()

        def strike(_: BaseException | None = None) -> None:
            left[0] -= 1
            if left[0] >= 0:
                raise KeyboardInterrupt(f"{interrupts - left[0]}")
            stuck.open()

        with pytest.raises(KeyboardInterrupt) as caught:
            pool.run([strike, lambda: stuck.wait() and None], on_interrupt=strike)
        notes = " ".join(getattr(caught.value, "__notes__", []))
        assert str(caught.value) == str(interrupts)
        assert ("while the threads of a step were being stopped" in notes) == (interrupts == 2)
        assert ("1 threads of the step were still running and are no longer waited for" in notes) == (
            interrupts == 3
        )
        stuck.open()
        pool.run([lambda: None] * 2)
        pool.shutdown()

    explore(program, range(40), carrier=fastest_carrier()).check()


@pytest.mark.case(41, 42)
def test_an_interrupt_in_one_caller_leaves_the_workers_of_another_alone() -> None:
    """The first caller's worker is still busy when the second is interrupted, and must not be given to a
    third."""

    def program(runtime: DetRuntime) -> None:
        pool, busy, go_on, done = WorkerPool(runtime), runtime.gate(), runtime.gate(), []
        state: set[str] = set()  # a gate may wake for nothing

        def slow() -> None:
            state.add("busy")
            busy.open()
            while "go on" not in state:
                go_on.wait()
            done.append("first")

        def interrupted() -> None:
            raise KeyboardInterrupt

        first = runtime.spawn(lambda: pool.run([lambda: None, slow]), name="first caller")
        while "busy" not in state:
            busy.wait()
        with contextlib.suppress(KeyboardInterrupt):
            pool.run([interrupted, lambda: None])
        pool.run([lambda: None, lambda: done.append("third")])
        assert done == ["third"]
        state.add("go on")
        go_on.open()
        first.join()
        assert done == ["third", "first"]
        pool.shutdown()

    everywhere(program, seeds=40)


def test_errors_keep_their_cause_and_context(pool: WorkerPool) -> None:
    def failing() -> None:
        try:
            raise KeyError("context")
        except KeyError:
            raise ValueError("error") from OSError("cause")

    with pytest.raises(ValueError, match="error") as caught:
        pool.run([lambda: None, failing])
    assert isinstance(caught.value.__cause__, OSError)
    assert isinstance(caught.value.__context__, KeyError)


def test_threads_of_a_failed_step_are_given_up_after_the_limit() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, stuck = WorkerPool(runtime), runtime.gate()
        with pytest.raises(WaitTimeoutError, match="microbatch-1 still runs 5.0 s later"):
            pool.run([lambda: None, lambda: stuck.wait() and None], limit=5.0, give_up=lambda: True)
        assert runtime.monotonic() == 5.0
        pool.run([lambda: None] * 2)
        stuck.open()
        pool.shutdown()

    explore(program, range(50), carrier=fastest_carrier()).check()


def test_nobody_is_given_up_while_the_step_is_sound() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, slow = WorkerPool(runtime), runtime.gate()
        pool.run([lambda: None, lambda: slow.wait(100.0) and None], limit=5.0, give_up=lambda: False)
        assert runtime.monotonic() >= 100.0
        pool.shutdown()

    explore(program, range(50), carrier=fastest_carrier()).check()


def test_shutdown_ends_the_threads_and_closes_for_good(pool: WorkerPool) -> None:
    pool.run([lambda: None] * 4)
    pool.shutdown()
    pool.shutdown()
    assert pool.num_threads == 0
    with pytest.raises(ClosedError, match="shut down"):
        pool.run([lambda: None] * 2)


def test_shutdown_beside_a_run_lets_it_finish() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, done = WorkerPool(runtime), []
        pool.run([lambda: None] * 2)

        def caller() -> None:
            try:
                pool.run([lambda: done.append(1)] * 2)
            except ClosedError:
                done.extend((0, 0))

        other = runtime.spawn(caller, name="caller")
        pool.shutdown()
        other.join()
        assert len(done) == 2
        assert sum(done) in (0, 2)

    everywhere(program)


def test_shutdown_from_inside_a_body(pool: WorkerPool) -> None:
    done: list[int] = []

    def closing() -> None:
        pool.shutdown()
        done.append(1)

    pool.run([lambda: done.append(0), closing])
    assert sorted(done) == [0, 1]


def test_shutdown_names_a_thread_that_does_not_end() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, stuck = WorkerPool(runtime), runtime.gate()
        other = runtime.spawn(lambda: pool.run([lambda: None, lambda: stuck.wait() and None]), name="caller")
        runtime.point("before")
        while pool.num_threads == 0 or not runtime.tasks[-1].gate:
            runtime.gate().wait(0.1)
        with pytest.raises(WaitTimeoutError, match="'microbatch-1' did not end within 3.0 s"):
            pool.shutdown(3.0)
        stuck.open()
        other.join()
        pool.shutdown()

    explore(program, range(30), carrier=fastest_carrier()).check()


@pytest.mark.case(43)
@pytest.mark.parametrize("cycle", [False, True])
def test_a_collected_pool_leaves_no_thread(cycle: bool) -> None:
    pools = [WorkerPool(RUNTIME) for _ in range(5)]
    for pool in pools:
        pool.run([lambda: None] * 2)
        if cycle:
            pool.itself = pool  # type: ignore[attr-defined]
    del pool
    with no_thread_left():
        pools.clear()
        gc.collect()


@pytest.mark.case(44)
def test_sleeping_workers_keep_nothing_of_the_last_run_alive(pool: WorkerPool) -> None:
    class Batch:
        pass

    def one_run() -> weakref.ref[Any]:
        batch = Batch()
        pool.run([lambda: None, lambda: setattr(batch, "seen", True)])
        return weakref.ref(batch)

    reference = one_run()
    pool.run([lambda: None] * 2)  # the worker has gone back to sleep before it is claimed again
    assert reference() is None


class OpenAndGone:
    """A gate where another may go on right after it was opened."""

    def __init__(self, gate: Gate, runtime: DetRuntime) -> None:
        self._gate, self._runtime = gate, runtime

    def open(self) -> None:
        self._gate.open()
        if self._runtime.running:
            self._runtime.point("opened")

    def wait(self, timeout: float | None = None) -> bool:
        return self._gate.wait(timeout)


@pytest.mark.case(44)
@pytest.mark.parametrize("where", ["caller", "worker"])
@pytest.mark.parametrize("fails", [None, ValueError, KeyboardInterrupt], ids=str)
def test_nothing_of_a_run_is_alive_when_it_returns(fails: type[BaseException] | None, where: str) -> None:
    """At once, without garbage collection, and although a worker may still be on its way back to sleep."""

    class Batch:
        pass

    def one_run(pool: WorkerPool, runtime: DetRuntime) -> weakref.ref[Any]:
        batch = Batch()

        def body() -> None:
            batch.seen = True  # type: ignore[attr-defined]
            runtime.point("body")
            if fails is not None and where == "worker":
                raise fails

        def first() -> None:
            runtime.point("the caller's body")
            if fails is not None and where == "caller":
                raise fails

        try:
            pool.run([first, body])
        except BaseException as error:  # noqa: BLE001 - its frames are let go here
            assert type(error) is fails
        return weakref.ref(batch)

    def program(runtime: DetRuntime) -> None:
        honest = runtime.gate
        runtime.gate = lambda: OpenAndGone(honest(), runtime)  # type: ignore[method-assign,assignment,return-value]
        pool = WorkerPool(runtime)
        reference = one_run(pool, runtime)
        assert reference() is None
        pool.shutdown()

    gc.collect()
    gc.disable()
    try:
        explore_all(program, preemptions=2, limit=300).check()
    finally:
        gc.enable()


def test_a_sleeping_worker_holds_no_run() -> None:
    def program(runtime: DetRuntime) -> None:
        pool = WorkerPool(runtime)
        with pytest.raises(KeyboardInterrupt):
            pool.run(
                [lambda: (_ for _ in ()).throw(KeyboardInterrupt), lambda: {}["an error that nobody raises"]]
            )
        runtime.gate().wait(1.0)  # the worker goes back to sleep
        assert runs() <= before
        pool.shutdown()

    def runs() -> set[int]:
        return {id(found) for found in gc.get_objects() if type(found) is Run}

    gc.collect()
    before = runs()  # of other tests, whose errors are kept
    explore(program, range(5)).check()


def test_a_worker_claimed_in_the_moment_it_is_given_back_does_not_end() -> None:
    class Busy(dict[Any, Any]):
        """Another run is quick to claim what is given back."""

        def pop(self, worker: Any, *default: Any) -> Any:
            former = super().pop(worker, *default)
            self.setdefault(worker, "the other run")
            return former

    roster = Roster(RUNTIME)
    worker = Worker(RUNTIME.gate(), "worker")
    roster.workers.append(worker)
    roster.claims = Busy({worker: "this run"})
    roster.closed = True
    assert roster.release(worker) is False
    assert roster.claims[worker] == "the other run"
    roster.claims = {worker: "this run"}
    assert roster.release(worker) is True


def test_a_roster_of_another_process_is_left_alone() -> None:
    """As in the child of a fork: its threads are not there, and what it shares with its parent is not
    touched."""

    class Foreign:
        def join(self, timeout: float | None = None) -> bool:
            pytest.fail("a thread of another process was waited for")

    pool = WorkerPool(RUNTIME)
    roster, worker = pool._held[0], Worker(RUNTIME.gate(), "worker")
    worker.task = Foreign()
    roster.workers.append(worker)
    roster.process = -1
    roster.close()
    assert (roster.closed, roster.claims, worker.gate.wait(0)) == (False, {}, False)
    assert pool.num_threads == 0
    pool.shutdown()
    with pytest.raises(ClosedError):
        pool.run([lambda: None] * 2)


def test_shutdown_passes_over_a_worker_whose_thread_was_never_started() -> None:
    pool = WorkerPool(RUNTIME)
    pool._held[0].workers.append(Worker(RUNTIME.gate(), "worker"))
    pool.shutdown()


@pytest.mark.case(28)
@pytest.mark.parametrize("at", [1, 2])
def test_a_thread_that_cannot_be_started_while_the_pool_is_closed(at: int) -> None:
    """The threads that were started for that run are idle then, so they must end too."""

    def program(runtime: DetRuntime) -> None:
        pool, spawned, real = WorkerPool(runtime), [0], runtime.spawn
        closer = runtime.spawn(lambda: pool.shutdown(None), name="closer")

        def refusing(function: Any, *, name: str) -> Any:
            spawned[0] += 1
            runtime.point("starting a thread")
            if spawned[0] == at + 1:
                raise RuntimeError("can't start new thread")
            return real(function, name=name)

        runtime.spawn = refusing  # type: ignore[method-assign]
        with pytest.raises((RuntimeError, ClosedError)):
            pool.run([lambda: None] * 4)
        closer.join()
        roster = pool._held[0]
        assert spawned[0] == 0 or spawned[0] == at + 1
        pool.shutdown(None)
        assert (roster.workers, roster.claims) == ([], {})

    explore_all(program, preemptions=2, limit=600, carrier=fastest_carrier()).check()


@pytest.mark.case(28)
def test_a_thread_that_cannot_be_started_is_on_no_list() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, spawned, real = WorkerPool(runtime), [0], runtime.spawn

        def refusing(function: Any, *, name: str) -> Any:
            spawned[0] += 1
            if spawned[0] == 2:
                raise RuntimeError("can't start new thread")
            return real(function, name=name)

        runtime.spawn = refusing  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.run([lambda: None] * 3)
        assert pool.num_threads == 1
        pool.run([lambda: None] * 3)
        assert pool.num_threads == 2
        pool.shutdown()
        assert pool._held[0].claims == {}

    explore(program, range(20), carrier=fastest_carrier()).check()


def test_a_thousand_runs_change_neither_threads_nor_objects(pool: WorkerPool) -> None:
    def runs(count: int) -> int:
        for _ in range(count):
            pool.run([lambda: None] * 3)
        gc.collect()
        return len(gc.get_objects())

    runs(50)
    before = runs(50)
    assert runs(1000) - before < 50
    assert pool.num_threads == 2


class Owner:
    """Claims workers and has nothing for them to do."""

    def work(self, worker: Worker) -> bool:
        return False


@pytest.mark.case(32)
def test_workers_of_an_owner_that_is_gone_are_idle_again() -> None:
    """Two interrupts can end a run before it has given its workers back."""
    roster, lost, other = Roster(RUNTIME), Owner(), Owner()
    worker = roster.claim(lost)
    assert roster.claim(other) is not worker
    del lost
    assert roster.owner(worker) is None and roster.claim(other) is worker
    roster.close()
    del other
    for each in tuple(roster.workers):
        roster.release(each)
        each.gate.open()
        assert each.task is not None and each.task.join(20)


def test_a_worker_whose_thread_may_not_have_been_started_is_never_given_work() -> None:
    """An interrupt struck in the start of its thread, and another before it was dismissed."""
    roster, owner = Roster(RUNTIME), Owner()
    halfway = Worker(RUNTIME.gate(), "halfway")
    roster.workers.append(halfway)
    worker = roster.claim(owner)
    assert worker is not halfway and halfway.dismissed and roster.workers == [worker]
    roster.release(worker)
    roster.close()
    assert worker.task is not None and worker.task.join(20)
