"""Ctrl-C at every bytecode of the caller: the turn is not lost, nobody stays parked, the next step runs.

The trace function raises before the chosen bytecode of our own frames, which is where a signal handler may
run.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from microbatch import dbo
from microbatch.errors import WaitTimeoutError
from microbatch.schedules import pingpong
from microbatch.turns.context import UBatchContext, current_ubatch
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.interrupts import Interrupt, in_thread_of_its_own
from tests.support.taking_turns import HostState, TurnsProgram, make_step
from tests.support.threads import no_thread_left

RUNTIME = ThreadRuntime()


def bytecodes(step: Callable[[], None]) -> int:
    with Interrupt(0) as counting:
        step()
    return counting.seen


def where_it_may_run() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


@pytest.mark.pitfall(26)
@pytest.mark.case(31)
@pytest.mark.parametrize("fails", [False, True], ids=["sound step", "step that fails"])
@in_thread_of_its_own
def test_interrupt_at_every_bytecode_of_the_caller(fails: bool, driver: str, pool: WorkerPool) -> None:
    entered, unwound = [0], [0]

    def compute(context: UBatchContext, ubatch: int) -> None:
        entered[0] += 1
        try:
            dbo.dbo_yield()
            if fails and ubatch == 1:
                raise ValueError("sibling")
            dbo.dbo_yield()
        finally:
            unwound[0] += 1

    def step() -> None:
        try:
            pingpong.run(make_step(RUNTIME, pool, 2, compute, driver=driver, barrier_timeout=20.0))
        except ValueError:
            assert fails

    step()
    lengths = [
        bytecodes(step) for _ in range(7)
    ]  # a wait that finds its permit is shorter than one that sleeps, so no two steps need be as long
    total, allowed = max(lengths), where_it_may_run()
    struck = 0
    for at in range(1, total + 1):
        interrupt = Interrupt(at)
        try:
            with interrupt:
                step()
            assert interrupt.seen < at, f"bytecode {at}: the interrupt was lost"
        except KeyboardInterrupt as error:
            struck += 1
            late = [
                other for other in getattr(error, "ubatch_errors", ()) if isinstance(other, WaitTimeoutError)
            ]
            assert not late, f"bytecode {at}: somebody waited for a turn that was lost"
        assert entered == unwound, f"bytecode {at}: a ubatch was not unwound"
        assert current_ubatch() is None
        assert where_it_may_run() == allowed, f"bytecode {at}: the caller was left confined to a core"
        if at % 50 == 0:
            TurnsProgram((1, 1), driver=driver, timeout=20.0).run(RUNTIME, pool)
    assert struck > 300
    assert pool.num_threads <= 3, "interrupted steps left threads that nobody uses"


class Lanes:
    """An asynchronous device that knows only which stream is current in each thread."""

    name, asynchronous = "lanes", True

    def __init__(self) -> None:
        self.current: dict[int, str] = {}

    def stream(self, purpose: str) -> Lanes.Stream:
        return Lanes.Stream(self, purpose)

    def current_stream(self) -> Lanes.Stream:
        return Lanes.Stream(self, self.current.get(threading.get_ident(), "caller"))

    def event(self) -> Lanes.Stream:
        return Lanes.Stream(self, "event")

    def thread_state(self) -> HostState:
        return HostState()

    class Stream:
        """A stream or an event."""

        def __init__(self, device: Lanes, purpose: str) -> None:
            self.device, self.purpose = device, purpose

        def record(self, stream: Any) -> None: ...

        def wait(self, event: Any) -> None: ...

        @contextmanager
        def activate(self) -> Iterator[None]:
            current, thread = self.device.current, threading.get_ident()
            former, current[thread] = current.get(thread, "caller"), self.purpose
            try:
                yield
            finally:
                current[thread] = former


@pytest.mark.case(31, 57)
@in_thread_of_its_own
def test_interrupt_at_every_bytecode_leaves_the_callers_stream_current(driver: str, pool: WorkerPool) -> None:
    """At once, not when the garbage collector comes by."""

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_yield_and_switch_from_compute_to_comm()
        dbo.dbo_yield()

    gc.collect()
    gc.disable()
    try:
        for at in range(1, 10_000):
            device = Lanes()
            with contextlib.suppress(KeyboardInterrupt), Interrupt(at) as interrupt:
                pingpong.run(
                    make_step(RUNTIME, pool, 2, compute, driver=driver, backend=device, barrier_timeout=20.0)
                )
            assert set(device.current.values()) <= {"caller"}, f"bytecode {at}"
            if interrupt.seen < at:
                break
        assert at > 1000
    finally:
        gc.enable()


@pytest.mark.case(31)
@in_thread_of_its_own
def test_interrupt_at_every_bytecode_of_a_first_step() -> None:
    """The threads are started in the interrupted step itself."""

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_yield()

    def step() -> None:
        workers = WorkerPool(RUNTIME)
        try:
            pingpong.run(make_step(RUNTIME, workers, 3, compute, barrier_timeout=20.0))
        finally:
            former = sys.gettrace()
            sys.settrace(None)
            workers.shutdown()
            sys.settrace(former)

    with no_thread_left():
        total = bytecodes(step)
        for at in range(1, total + 1, 3):
            try:
                with Interrupt(at):
                    step()
            except KeyboardInterrupt as error:
                assert "waited" not in str(getattr(error, "ubatch_errors", ""))


@pytest.mark.case(32)
@in_thread_of_its_own
def test_a_second_interrupt_while_unwinding_is_bounded(pool: WorkerPool) -> None:
    def compute(context: UBatchContext, ubatch: int) -> None:
        try:
            dbo.dbo_yield()
        finally:
            if ubatch == 0:
                raise KeyboardInterrupt("second")
        raise KeyboardInterrupt("first")

    with pytest.raises(KeyboardInterrupt, match="second"):
        pingpong.run(make_step(RUNTIME, pool, 2, compute, barrier_timeout=20.0))
    TurnsProgram((1, 1), timeout=20.0).run(RUNTIME, pool)


class LeavesAtOnce(WorkerPool):
    """Starts the siblings and lets them go: a second interrupt came before the first was handled."""

    def run(self, bodies: Any, **ways: Any) -> None:
        self.left = [RUNTIME.spawn(body, name="sibling") for body in bodies[1:]]
        raise KeyboardInterrupt


@pytest.mark.case(32)
def test_siblings_of_a_caller_that_left_unwind_at_once() -> None:
    """They do not wait for their limit: the step lets them go on its way out, whatever struck before."""
    pool = LeavesAtOnce(RUNTIME)
    with pytest.raises(KeyboardInterrupt):
        pingpong.run(make_step(RUNTIME, pool, 3, lambda context, ubatch: None, barrier_timeout=600.0))
    assert all(task.join(20) for task in pool.left)
