"""Ctrl-C at every bytecode of the caller: the turn is not lost, nobody stays parked, the next step runs.

The trace function raises before the chosen bytecode of our own frames, which is where a signal handler may run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

import pytest

from microbatch import dbo
from microbatch.errors import WaitTimeoutError
from microbatch.schedules import pingpong
from microbatch.testing.taking_turns import TurnsProgram, make_step
from microbatch.testing.threads import no_thread_left
from microbatch.turns.context import UBatchContext, current_ubatch
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool

RUNTIME = ThreadRuntime()
OURS = ("microbatch/turns/", "microbatch/schedules/", "microbatch/dbo.py")
FINALIZERS = ("__del__", "_close_all", "close")
"""Run by the garbage collector, where Python reports an interrupt and goes on."""


class Interrupt:
    """Raises KeyboardInterrupt before bytecode number `at` of our frames in this thread."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0

    def __enter__(self) -> Self:
        self._former = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._former)

    def _call(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename.replace("\\", "/")
        if not any(part in name for part in OURS) or frame.f_code.co_name in FINALIZERS:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._local

    def _local(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        if event == "opcode":
            self.seen += 1
            if self.seen == self.at:
                raise KeyboardInterrupt
        return self._local


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with no_thread_left():
        workers = WorkerPool(RUNTIME)
        yield workers
        workers.shutdown()


@pytest.fixture(params=["threads", "greenlets"])
def driver(request: pytest.FixtureRequest) -> str:
    if request.param == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    return str(request.param)


def bytecodes(step: Callable[[], None]) -> int:
    with Interrupt(0) as counting:
        step()
    return counting.seen


@pytest.mark.parametrize("fails", [False, True], ids=["sound step", "step that fails"])
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
    total = bytecodes(step)
    assert total > 300
    struck = 0
    for at in range(1, total + 1):
        try:
            with Interrupt(at):
                step()
        except KeyboardInterrupt as error:
            struck += 1
            late = [
                other for other in getattr(error, "ubatch_errors", ()) if isinstance(other, WaitTimeoutError)
            ]
            assert not late, f"bytecode {at}: somebody waited for a turn that was lost"
        assert entered == unwound, f"bytecode {at}: a ubatch was not unwound"
        assert current_ubatch() is None
        if at % 50 == 0:
            TurnsProgram((1, 1), driver=driver, timeout=20.0).run(RUNTIME, pool)
    assert struck >= total * 0.9
    assert pool.num_threads <= 3, "interrupted steps left threads that nobody uses"


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
