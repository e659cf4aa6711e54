"""An error at every place of every ubatch: the very error reaches the caller, everybody unwinds, nobody
hangs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from microbatch import dbo
from microbatch.errors import ThreadStartError
from microbatch.schedules import pingpong
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.state import UBatchState
from microbatch.turns.workers import WorkerPool
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier
from tests.support.taking_turns import Fault, TurnsProgram, make_step

RUNTIME = ThreadRuntime()
YIELDS = (2, 1, 2)


class FalsyError(Exception):
    """As a user's exception may be."""

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


def faults(yields: tuple[int, ...], errors: tuple[type[BaseException], ...] = (ValueError,)) -> list[Fault]:
    """Every place at which a ubatch can raise."""
    found = []
    for ubatch, error in itertools.product(range(len(yields)), errors):
        places: list[int | str] = ["load", "store", *range(yields[ubatch] + 1)]
        if ubatch < len(yields) - 1 and error is not StopIteration:  # the fake's set-up is a generator
            places.append("setup")  # the threads of the others are set up, one after another
        found += [Fault(ubatch, place, error) for place in places]
    return found


def named(fault: Fault) -> str:
    return f"{fault.error.__name__} in ubatch {fault.ubatch} at {fault.place}"


@pytest.mark.pitfall(6)
@pytest.mark.case(20, 21, 22)
@pytest.mark.parametrize("fault", faults((1, 1)), ids=named)
def test_two_ubatches_under_every_schedule_with_two_preemptions(fault: Fault) -> None:
    explore_all(lambda r: TurnsProgram((1, 1), fault)(r), preemptions=2, carrier=fastest_carrier()).check()


@pytest.mark.pitfall(6)
@pytest.mark.case(20, 21, 22)
@pytest.mark.parametrize("fault", faults(YIELDS), ids=named)
def test_three_ubatches_under_drawn_schedules(fault: Fault) -> None:
    explore(lambda r: TurnsProgram(YIELDS, fault)(r), range(100), carrier=fastest_carrier()).check()


@pytest.mark.pitfall(5, 23)
@pytest.mark.parametrize("yields", [(2, 2), (1, 0, 2), (1, 1, 1)])
def test_without_a_fault_under_every_schedule_with_two_preemptions(yields: tuple[int, ...]) -> None:
    explore_all(lambda r: TurnsProgram(yields)(r), preemptions=2, carrier=fastest_carrier()).check()


ERRORS = (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, FalsyError, BaseException)


@pytest.mark.pitfall(6)
@pytest.mark.case(20, 21, 25, 26, 27)
@pytest.mark.parametrize("fault", faults(YIELDS, ERRORS), ids=named)
def test_every_kind_of_error_on_real_threads(fault: Fault, pool: WorkerPool) -> None:
    TurnsProgram(YIELDS, fault, timeout=30.0).run(RUNTIME, pool)


@pytest.mark.pitfall(6)
@pytest.mark.case(21, 25, 26, 27)
@pytest.mark.parametrize("fault", [f for f in faults(YIELDS, ERRORS) if f.place != "setup"], ids=named)
def test_every_kind_of_error_on_greenlets(fault: Fault, pool: WorkerPool) -> None:
    pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    TurnsProgram(YIELDS, fault, driver="greenlets").run(RUNTIME, pool)


def test_the_error_names_its_ubatch_and_keeps_traceback_and_cause(pool: WorkerPool, driver: str) -> None:
    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_yield()
        if ubatch == 1:
            deep_in_the_model()

    def deep_in_the_model() -> None:
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise ValueError("the error") from error

    step = make_step(RUNTIME, pool, 3, compute, driver=driver)
    with pytest.raises(ValueError, match="the error") as caught:
        pingpong.run(step)
    assert "in ubatch 1 of 3 (tokens 1:2)" in caught.value.__notes__
    assert isinstance(caught.value.__cause__, KeyError)
    assert "deep_in_the_model" in [entry.name for entry in caught.traceback]
    assert [context.state for context in step.contexts[1:]] == [UBatchState.FAILED] * 2


def test_errors_that_follow_from_the_unwinding_are_attached(pool: WorkerPool, driver: str) -> None:
    def compute(context: UBatchContext, ubatch: int) -> None:
        try:
            dbo.dbo_yield()
            if ubatch == 1:
                raise ValueError("first")
            dbo.dbo_yield()
        finally:
            if ubatch == 2:
                raise RuntimeError("while unwinding")

    with pytest.raises(ValueError, match="first") as caught:
        pingpong.run(make_step(RUNTIME, pool, 3, compute, driver=driver))
    followed: Any = caught.value
    assert [type(error) for error in followed.ubatch_errors] == [RuntimeError]
    assert any(
        "ubatch 2 of 3 (tokens 2:3) also raised RuntimeError" in note for note in caught.value.__notes__
    )


def test_siblings_unwind_one_after_another_in_ring_order(pool: WorkerPool, driver: str) -> None:
    unwound: list[int] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        try:
            dbo.dbo_yield()
            if ubatch == 2:
                raise ValueError("first")
            dbo.dbo_yield()
        finally:
            unwound.append(ubatch)

    with pytest.raises(ValueError, match="first"):
        pingpong.run(make_step(RUNTIME, pool, 4, compute, driver=driver))
    assert unwound == [2, 3, 0, 1]


def test_code_that_swallows_the_unwinding_is_asked_again(pool: WorkerPool, driver: str) -> None:
    tries: list[int] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        if ubatch == 1:
            raise ValueError("first")
        while len(tries) < 3:
            try:
                dbo.dbo_yield()
            except BaseException:  # noqa: BLE001 - what a careless model does
                tries.append(ubatch)

    with pytest.raises(ValueError, match="first"):
        pingpong.run(make_step(RUNTIME, pool, 2, compute, driver=driver))
    assert tries == [0, 0, 0]


@pytest.mark.case(24)
@pytest.mark.parametrize("where", ["maybe_run", "at the end"])
def test_an_error_in_a_receive_hook_is_the_steps_error(where: str, pool: WorkerPool, driver: str) -> None:
    def broken_hook() -> None:
        raise ValueError("receive failed")

    def compute(context: UBatchContext, ubatch: int) -> None:
        if ubatch == 0:
            dbo.dbo_register_recv_hook(broken_hook)
        dbo.dbo_yield()
        if ubatch == 1 and where == "maybe_run":
            dbo.dbo_maybe_run_recv_hook()
        dbo.dbo_yield()

    with pytest.raises(ValueError, match="receive failed") as caught:
        pingpong.run(make_step(RUNTIME, pool, 2, compute, driver=driver))
    assert any("in ubatch 1 of 2" in note for note in caught.value.__notes__)


@pytest.mark.pitfall(7)
@pytest.mark.case(28)
@pytest.mark.parametrize("refusal", [RuntimeError, MemoryError])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_thread_that_cannot_be_started_leaves_nobody_parked(at: int, refusal: type[Exception]) -> None:
    def program(runtime: DetRuntime) -> None:
        pool, spawned, real = WorkerPool(runtime), [0], runtime.spawn

        def refusing(function: Any, *, name: str) -> Any:
            spawned[0] += 1
            if spawned[0] == at + 1:
                raise refusal("can't start new thread")
            return real(function, name=name)

        runtime.spawn = refusing  # type: ignore[method-assign]
        began: list[int] = []
        with pytest.raises(ThreadStartError, match=f"{refusal.__name__}: can't start new thread"):
            pingpong.run(make_step(runtime, pool, 4, lambda c, x: began.append(x)))
        assert began == []
        TurnsProgram((1, 1, 1, 1)).run(runtime, pool)
        pool.shutdown()

    explore(program, range(50), carrier=fastest_carrier()).check()


@pytest.mark.pitfall(7)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_error_before_a_ubatch_has_begun_leaves_nobody_at_the_start_line(at: int) -> None:
    """In a thread's set-up, as where a device cannot be selected: its ubatch never arrives, and the others
    know."""
    fault = Fault(at, "setup", RuntimeError)
    explore(lambda r: TurnsProgram((1, 1, 1, 1), fault)(r), range(50), carrier=fastest_carrier()).check()


@pytest.mark.case(23)
def test_all_raise_and_the_first_in_time_is_the_one(pool: WorkerPool, driver: str) -> None:
    def compute(context: UBatchContext, ubatch: int) -> None:
        try:
            dbo.dbo_yield()
        finally:
            raise ValueError(f"ubatch {ubatch}")

    with pytest.raises(ValueError, match="ubatch 0") as caught:
        pingpong.run(make_step(RUNTIME, pool, 3, compute, driver=driver))
    assert len([note for note in caught.value.__notes__ if "also raised" in note]) == 2
