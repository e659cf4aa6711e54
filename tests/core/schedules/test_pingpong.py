"""Ubatches that take turns: order, unequal yields, limits, and what a step leaves behind."""

from __future__ import annotations

import contextvars
import gc
import weakref
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import dbo
from microbatch.errors import ThreadStateError, UnequalYieldsError, WaitTimeoutError
from microbatch.schedules import pingpong
from microbatch.turns.context import AT_COLLECTIVES, UBatchContext, current_ubatch, yield_at_collectives
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.deterministic import DetRuntime, explore, fastest_carrier
from tests.support.taking_turns import NoDevice, TurnsProgram, make_step

RUNTIME = ThreadRuntime()
DRIVERS = ["threads", "greenlets"]


@pytest.mark.pitfall(5)
@pytest.mark.case(29, 55, 56)
@given(yields=st.lists(st.integers(0, 4), min_size=1, max_size=5), name=st.sampled_from(DRIVERS))
def test_any_numbers_of_yields_run_in_ring_order(yields: list[int], name: str) -> None:
    if name == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    TurnsProgram(yields, driver=name)(RUNTIME)


@pytest.mark.pitfall(5)
@pytest.mark.case(29)
@pytest.mark.parametrize("yields", [(1, 3), (3, 1), (0, 2), (2, 1, 2), (2, 2, 3)])
def test_the_numbers_on_which_event_rings_hang(yields: tuple[int, ...], driver: str) -> None:
    TurnsProgram(yields, driver=driver)(RUNTIME)


@pytest.mark.case(30)
@pytest.mark.parametrize("count", range(1, 9))
def test_one_to_eight_ubatches(count: int, driver: str) -> None:
    TurnsProgram([2] * count, driver=driver)(RUNTIME)


class Hooking(NoDevice):
    """A backend that can put yield points at collectives, and notes that it was to."""

    hooked = 0

    def hook_collectives(self) -> None:
        self.hooked += 1


@pytest.mark.parametrize("how", ["option", "block", "neither"])
def test_yields_at_collectives_are_asked_for(pool: WorkerPool, driver: str, how: str) -> None:
    """By the option or around the call; inside of the ubatches, and nowhere afterwards."""
    seen: list[bool] = []
    backend = Hooking()

    def compute(context: UBatchContext, _: Any) -> None:
        seen.append(AT_COLLECTIVES.get())

    asked = {"yield_at_collectives": True} if how == "option" else {}
    step = make_step(RUNTIME, pool, 3, compute, driver=driver, backend=backend, **asked)
    with yield_at_collectives() if how == "block" else nullcontext():
        pingpong.run(step)
        assert AT_COLLECTIVES.get() == (how == "block")
    assert seen == [how != "neither"] * 3
    assert backend.hooked == (how != "neither")
    assert not AT_COLLECTIVES.get()


def test_a_backend_without_collectives_takes_turns_all_the_same(pool: WorkerPool) -> None:
    order: list[int] = []
    step = make_step(
        RUNTIME, pool, 3, lambda context, _: order.append(context.ubatch_id), yield_at_collectives=True
    )
    pingpong.run(step)
    assert order == [0, 1, 2]


def test_strict_yields_names_each_count(pool: WorkerPool, driver: str) -> None:
    def compute(context: UBatchContext, _: Any) -> None:
        for _ in range(context.ubatch_id + 1):
            dbo.dbo_yield()

    step = make_step(RUNTIME, pool, 3, compute, driver=driver, strict_yields=True)
    with pytest.raises(UnequalYieldsError, match=r"ubatch 0 passed 1, ubatch 1 passed 2, ubatch 2 passed 3"):
        pingpong.run(step)


def test_strict_yields_lets_equal_counts_pass_and_hides_no_error(pool: WorkerPool, driver: str) -> None:
    def compute(context: UBatchContext, fails: bool) -> None:
        dbo.dbo_yield()
        if fails:
            raise ValueError("first")
        dbo.dbo_yield()

    pingpong.run(
        make_step(RUNTIME, pool, 2, compute, driver=driver, strict_yields=True, load=lambda _: False)
    )
    failing = make_step(
        RUNTIME,
        pool,
        2,
        compute,
        driver=driver,
        strict_yields=True,
        load=lambda context: context.ubatch_id == 1,
    )
    with pytest.raises(ValueError, match="first") as caught:
        pingpong.run(failing)
    assert caught.value.__notes__ == ["in ubatch 1 of 2 (tokens 1:2)"], "unequal yields follow from the error"


def test_a_limit_that_passes_says_who_waits_where_and_for_whom() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, stuck = WorkerPool(runtime), runtime.gate()

        def compute(context: UBatchContext, ubatch: int) -> None:
            dbo.dbo_yield("dispatch")
            if ubatch == 1:
                stuck.wait(40.0)
            dbo.dbo_yield("combine")

        with pytest.raises(WaitTimeoutError) as caught:
            pingpong.run(make_step(runtime, pool, 3, compute, barrier_timeout=30.0))
        text = str(caught.value)
        assert "waited 30.0 s for ubatch 1 (" in text
        assert "ubatch 1 has the turn since yield 1 (dispatch)" in text
        assert "ubatch 0 waits at yield 2 (combine)" in text
        assert "raise barrier_timeout" in text
        assert "task 0 'main'" in text, "where each thread stands is missing"
        TurnsProgram((1, 1)).run(runtime, pool)
        pool.shutdown()

    explore(program, range(50)).check()


def test_a_step_whose_threads_never_come_back_ends_with_an_error() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, stuck = WorkerPool(runtime), runtime.gate()

        def compute(context: UBatchContext, ubatch: int) -> None:
            if ubatch == 1:
                stuck.wait()
            else:
                dbo.dbo_yield()

        with pytest.raises(WaitTimeoutError, match="ubatch 0 waited 5.0 s for ubatch 1") as caught:
            pingpong.run(make_step(runtime, pool, 2, compute, barrier_timeout=5.0))
        assert any("is no longer waited for" in note for note in caught.value.__notes__)
        TurnsProgram((1, 1)).run(runtime, pool)
        stuck.open()
        pool.shutdown()

    explore(program, range(50)).check()


def test_missing_at_the_start_line_is_named(pool: WorkerPool) -> None:
    def program(runtime: DetRuntime) -> None:
        workers, late = WorkerPool(runtime), runtime.gate()

        class SlowState:
            only_context_variables = True

            def apply(self) -> Any:
                late.wait(60.0)
                return pingpong.nullcontext()

        class Slow:
            name, asynchronous = "slow", False

            def thread_state(self) -> SlowState:
                return SlowState()

        with pytest.raises(WaitTimeoutError, match="ubatch 0 waited 30.0 s for ubatches 1"):
            pingpong.run(make_step(runtime, workers, 2, lambda c, x: None, backend=Slow()))
        workers.shutdown()

    explore(program, range(20)).check()


def test_one_ubatch_takes_no_turns(pool: WorkerPool, driver: str) -> None:
    seen: list[bool] = []
    pingpong.run(make_step(RUNTIME, pool, 1, lambda c, x: seen.append(dbo.dbo_enabled()), driver=driver))
    assert seen == [False]
    assert pool.num_threads == 0


@pytest.mark.pitfall(3)
@pytest.mark.case(45, 57)
def test_each_ubatch_knows_itself_and_sees_the_callers_variables(pool: WorkerPool, driver: str) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("caller")
    seen: list[tuple[int, str]] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        assert current_ubatch() is context
        seen.append((dbo.dbo_current_ubatch_id(), variable.get()))
        variable.set(f"ubatch {ubatch}")
        dbo.dbo_yield()
        assert current_ubatch() is context
        assert variable.get() == f"ubatch {ubatch}"

    pingpong.run(make_step(RUNTIME, pool, 3, compute, driver=driver))
    assert seen == [(0, "caller"), (1, "caller"), (2, "caller")]
    assert (variable.get(), current_ubatch()) == ("caller", None)


@pytest.mark.bad_input(62)
@pytest.mark.case(58)
def test_a_yield_in_a_thread_of_the_functions_own_is_an_error_that_says_so(
    pool: WorkerPool, driver: str
) -> None:
    errors: list[str] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        def foreign() -> None:
            try:
                dbo.dbo_yield()
            except ThreadStateError as error:
                errors.append(str(error))

        copied = contextvars.copy_context()
        RUNTIME.spawn(lambda: copied.run(foreign), name="foreign").join(30)
        dbo.dbo_yield()

    pingpong.run(make_step(RUNTIME, pool, 2, compute, driver=driver))
    assert len(errors) == 2
    assert "that does not carry it" in errors[0]


@pytest.mark.case(44)
def test_nothing_of_a_step_is_kept_alive(pool: WorkerPool, driver: str) -> None:
    class Batch:
        pass

    def one_step(fails: bool) -> weakref.ref[Batch]:
        batch = Batch()

        def compute(context: UBatchContext, part: Batch) -> Batch:
            dbo.dbo_yield()
            if fails and context.ubatch_id == 1:
                raise ValueError("with the batch in its frames")
            return part

        try:
            pingpong.run(make_step(RUNTIME, pool, 2, compute, driver=driver, load=lambda context: batch))
        except ValueError:
            assert fails
        return weakref.ref(batch)

    gc.collect()
    gc.disable()
    try:
        assert one_step(False)() is None
        assert one_step(True)() is None
    finally:
        gc.enable()


def test_stray_signals_change_nothing(pool: WorkerPool) -> None:
    """A user may signal a context that takes turns; its permit is not a turn."""
    order: list[int] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        for _ in range(3):
            for other in step.contexts:
                other.signal_ready()
            order.append(ubatch)
            dbo.dbo_yield()

    step = make_step(RUNTIME, pool, 3, compute)
    pingpong.run(step)
    assert order == [0, 1, 2] * 3


@pytest.mark.case(53)
@pytest.mark.case(51)
def test_permits_left_by_a_failed_step_are_no_turns_in_the_next() -> None:
    """The contexts are used again as they are, with whatever the failed step left in their gates."""

    def program(runtime: DetRuntime) -> None:
        pool, order, failing = WorkerPool(runtime), [], [True]

        def compute(context: UBatchContext, ubatch: int) -> None:
            order.append(ubatch)
            dbo.dbo_yield()
            if ubatch == 1 and failing[0]:
                raise ValueError("first step")
            order.append(ubatch)

        step = make_step(runtime, pool, 3, compute)
        for context in step.contexts:
            context.signal_ready()
        with pytest.raises(ValueError, match="first step"):
            pingpong.run(step)
        failing[0] = False
        for context in step.contexts:
            context.signal_ready()
        order.clear()
        pingpong.run(step)
        assert order == [0, 1, 2, 0, 1, 2]
        pool.shutdown()

    explore(program, range(100), carrier=fastest_carrier()).check()


@pytest.mark.case(53)
@pytest.mark.parametrize("options", [{"spurious": 6}, {"spurious": 2}])
def test_wakes_for_nothing_change_nothing(options: dict[str, int]) -> None:
    program = TurnsProgram
    explore(lambda r: program((2, 1, 2))(r), range(300), carrier=fastest_carrier(), **options).check()


@pytest.mark.case(52)
def test_a_limit_racing_with_the_turn_is_one_or_the_other() -> None:
    """A limit may pass at any time here; nobody ever reports that he waited for himself, and nobody hangs."""
    texts: set[str] = set()

    def program(runtime: DetRuntime) -> None:
        pool = WorkerPool(runtime)
        step = make_step(
            runtime, pool, 3, lambda c, x: [dbo.dbo_yield() for _ in range(2)], barrier_timeout=30.0
        )
        try:
            pingpong.run(step)
            texts.add("ran")
        except WaitTimeoutError as error:
            words = str(error).split(" (")[0].split()
            assert words[1] != words[-1], str(error)
            texts.add("late")
        pool.shutdown(None)

    explore(program, range(600), carrier=fastest_carrier(), eager_timeouts=True).check()
    assert texts == {"ran", "late"}
