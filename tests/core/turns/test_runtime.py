"""Gates hold one permit, tasks can be joined, and a forked child touches nothing of its parent's."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ClosedError
from microbatch.turns.gates import EventGate, Gate, LockGate
from microbatch.turns.runtime import Started, ThreadRuntime, default_runtime
from tests.support.interrupts import Interrupt, in_thread_of_its_own

KINDS: list[Callable[[], Gate]] = [LockGate, *([EventGate] if hasattr(os, "eventfd") else [])]
kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.case(48)
@kinds
@given(operations=st.lists(st.sampled_from(["open", "poll"])))
def test_gate_is_one_saturating_permit(kind: Callable[[], Gate], operations: list[str]) -> None:
    gate, permit = kind(), False
    for operation in operations:
        if operation == "open":
            gate.open()
            permit = True
        else:
            assert gate.wait(0) is permit
            permit = False


@kinds
def test_limit_of_a_wait_passes(kind: Callable[[], Gate]) -> None:
    assert kind().wait(0.001) is False
    assert kind().wait(-1.0) is False


@pytest.mark.case(47)
@kinds
@pytest.mark.parametrize("limit", [None, 30.0, 1e12])
def test_signal_before_the_wait_is_not_lost(kind: Callable[[], Gate], limit: float | None) -> None:
    gate = kind()
    gate.open()
    assert gate.wait(limit) is True
    assert gate.wait(0) is False


@kinds
def test_open_wakes_a_parked_thread(kind: Callable[[], Gate]) -> None:
    gate, seen = kind(), []
    task = ThreadRuntime().spawn(lambda: seen.append(gate.wait(30)), name="waiter")
    gate.open()
    assert task.join(30)
    assert seen == [True]


@kinds
def test_one_permit_passes_one_of_two_waiters(kind: Callable[[], Gate]) -> None:
    gate, runtime, seen = kind(), ThreadRuntime(), []
    tasks = [runtime.spawn(lambda: seen.append(gate.wait(0.05)), name=f"waiter {i}") for i in range(2)]
    gate.open()
    assert all(task.join(30) for task in tasks)
    assert sorted(seen) == [False, True]


@pytest.mark.case(33)
@kinds
def test_child_of_a_fork_cannot_wait_and_does_not_wake_its_parent(kind: Callable[[], Gate]) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    gate = kind()

    def in_child() -> bool:
        gate.open()
        try:
            gate.wait(0)
        except ClosedError as error:
            return "forked" in str(error)
        return False

    assert _in_fork(in_child)
    assert gate.wait(0) is False


def test_gate_without_descriptors_falls_back_to_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: int) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(os, "eventfd", exhausted, raising=False)
    assert isinstance(ThreadRuntime().gate(), LockGate)
    monkeypatch.delattr(os, "eventfd")
    assert isinstance(ThreadRuntime().gate(), LockGate)


def test_gate_closes_its_descriptor() -> None:
    if not hasattr(os, "eventfd"):
        pytest.skip("this system has no eventfd")
    gate = ThreadRuntime().gate()
    assert isinstance(gate, EventGate)
    descriptor = gate._descriptor
    del gate
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)


needs_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2 or not hasattr(os, "eventfd"),
    reason="needs Linux and two cores to sleep on another one",
)


def elsewhere(gate: Gate) -> None:
    """Make `gate` one whose next wait sleeps on a core that the caller is not on."""
    assert isinstance(gate, EventGate)
    allowed = os.sched_getaffinity(0)
    gate.sleep_on(None)
    gate.wait(0)  # takes a permit that an interrupted wait has left
    gate.sleep_on(max(allowed))
    os.sched_setaffinity(0, {min(allowed)})
    assert gate.wait(0) is False  # the first one moves nobody
    os.sched_setaffinity(0, allowed)


@needs_cores
def test_a_wait_on_the_common_core_frees_the_thread_again() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        gate = ThreadRuntime().gate()
        elsewhere(gate)
        before = os.sched_getaffinity(0)
        gate.open()
        assert gate.wait(30) is True
        assert gate.wait(0) is False
        assert os.sched_getaffinity(0) == before
    finally:
        os.sched_setaffinity(0, allowed)


@needs_cores
@in_thread_of_its_own
def test_an_interrupt_of_such_a_wait_at_any_bytecode_frees_the_thread() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        gate = ThreadRuntime().gate()
        for at in range(1, 200):
            elsewhere(gate)
            before = os.sched_getaffinity(0)
            gate.open()
            try:
                with Interrupt(at) as interrupt:
                    gate.wait(0)
            except KeyboardInterrupt:
                pass
            assert os.sched_getaffinity(0) == before
            if interrupt.seen < at:
                return
        pytest.fail("the wait never ended")
    finally:
        os.sched_setaffinity(0, allowed)


@needs_cores
def test_a_thread_that_may_not_go_there_stays_where_it_is() -> None:
    allowed = os.sched_getaffinity(0)
    gate = ThreadRuntime().gate()
    assert isinstance(gate, EventGate)
    gate.sleep_on(max(allowed) + 1)
    gate.open()
    assert gate.wait(30) is True
    assert os.sched_getaffinity(0) == allowed


def test_who_waits_in_gathered_gates_sleeps_on_the_callers_core() -> None:
    runtime = ThreadRuntime()
    gates = [runtime.gate(), LockGate()]
    runtime.gather(gates)
    if isinstance(gates[0], EventGate) and gates[0]._core is not None:
        assert gates[0]._core in os.sched_getaffinity(0)


@pytest.mark.case(46)
def test_task_runs_under_its_name_and_can_be_joined() -> None:
    names: list[str] = []
    task = ThreadRuntime().spawn(lambda: names.append(threading.current_thread().name), name="worker 7")
    assert task.join(30)
    assert names == ["worker 7"]


def test_join_of_a_running_task_has_a_limit() -> None:
    gate = ThreadRuntime().gate()
    seen: list[bool] = []
    task = ThreadRuntime().spawn(lambda: seen.append(gate.wait(30)), name="parked")
    assert task.join(0.001) is False
    gate.open()
    assert task.join(30)


def test_dump_says_where_each_thread_stands() -> None:
    runtime = ThreadRuntime()
    gate, ready = runtime.gate(), runtime.gate()

    def parked_here() -> None:
        ready.open()
        gate.wait(30)

    task = runtime.spawn(parked_here, name="a parked thread")
    assert ready.wait(30)
    text = runtime.dump()
    gate.open()
    assert task.join(30)
    assert "a parked thread" in text
    assert "parked_here" in text


def test_clock_never_runs_backwards_and_identity_is_the_threads() -> None:
    runtime, seen = default_runtime(), []
    first = runtime.monotonic()
    assert runtime.monotonic() >= first
    runtime.spawn(lambda: seen.append(runtime.current()), name="other").join(30)
    assert runtime.current() == runtime.current() != seen[0]
    runtime.point("does nothing")


def _in_fork(question: Callable[[], bool]) -> bool:
    """Whether the answer in a forked child is True."""
    if sys.version_info >= (3, 12) and threading.active_count() > 1:
        pytest.skip("Python warns of a fork beside running threads")
    child = os.fork()
    if child == 0:
        answer = False
        try:
            answer = question()
        finally:
            os._exit(0 if answer else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@in_thread_of_its_own
def test_an_interrupt_of_who_starts_a_thread_never_stops_the_thread() -> None:
    """The thread says that it runs, and takes no lock that the interrupted one could have kept."""
    runtime = ThreadRuntime()
    with Interrupt(0) as counting:
        Started(runtime.gate()).wait(0.0)
    assert counting.seen > 10
    for at in range(1, counting.seen + 1):
        started = Started(runtime.gate())
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at):
            started.wait(0.0)
        other = threading.Thread(target=started.set, daemon=True)
        other.start()
        other.join(20)
        assert started.is_set() and started.wait(0), f"bytecode {at}"


def test_who_starts_a_thread_waits_until_it_runs() -> None:
    seen: list[bool] = []
    task = ThreadRuntime().spawn(lambda: seen.append(True), name="started")
    assert task.join(20) and seen == [True]
    assert isinstance(task._thread._started, Started)  # type: ignore[attr-defined]
