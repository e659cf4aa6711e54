"""Steps on a stand-in for vLLM's module: they end as they should, in order, and nobody hangs."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from microbatch_vllm.ring import Step
from runners import StandInRunner

from cases import CASES, Case, outcome
from conftest import SHORT
from microbatch.errors import BarrierBrokenError, ThreadStateError, WaitTimeoutError
from microbatch.turns.state import UBatchCancelled

Ours = Callable[..., Any]
DESCRIPTORS = Path("/proc/self/fd")
DRAWN = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_as_it_should(ours: Ours, name: str) -> None:
    """All of them end, and only one of them has an error."""
    module, case = ours(), CASES[name]
    assert outcome(StandInRunner(module, len(case.yields)), module, case) == case.expected


@st.composite
def drawn_cases(draw: st.DrawFn) -> Case:
    """Up to four ubatches with any numbers of yields, where one may fail."""
    yields = tuple(draw(st.lists(st.integers(0, 4), min_size=2, max_size=4)))
    numbers = st.integers(0, len(yields) - 1)
    return Case(yields=yields, raises=draw(st.none() | numbers), hooks=frozenset(draw(st.sets(numbers))))


@DRAWN
@given(st.lists(drawn_cases(), min_size=1, max_size=3))
def test_any_steps_of_any_yields_end_as_they_should(ours: Ours, cases: list[Case]) -> None:
    """The first error is the one that the runner raises; a later step is not touched by it."""
    module = ours()
    runners = {count: StandInRunner(module, count) for count in (2, 3, 4)}
    for case in cases:
        assert outcome(runners[len(case.yields)], module, case) == case.expected
        assert not module.dbo_enabled()
        assert set(module._CURRENT_CONTEXTS) == {None}


@pytest.mark.parametrize("count", [2, 3])
def test_the_error_comes_before_the_cancellations(ours: Ours, count: int) -> None:
    """Though the thread that failed hands its error in late, and its siblings could be faster."""
    module = ours()
    runner = StandInRunner(module, count)
    errors, entered = runner.errors, threading.Event()

    def fails() -> None:
        module.dbo_yield()
        raise ValueError("boom")

    class Late(dict[int, BaseException]):
        def __setitem__(self, index: int, error: BaseException) -> None:
            if index == 0:
                entered.wait(SHORT)  # nobody sets it: the siblings have this long to overtake
            super().__setitem__(index, error)

    def before(_: int) -> None:
        pass

    errors = Late()
    contexts = module.make_ubatch_contexts(count, runner.barrier)
    bodies = [fails, *[lambda: [module.dbo_yield() for _ in range(5)]] * (count - 1)]
    threads = [
        threading.Thread(target=runner._carry, args=(context, body, before, {}, errors))
        for context, body in zip(contexts, bodies, strict=True)
    ]
    for thread in threads:
        thread.start()
    runner.barrier.wait()
    contexts[0].cpu_wait_event.set()
    for thread in threads:
        thread.join()
    assert next(iter(errors)) == 0 and set(errors) == set(range(count))
    assert repr(errors[0]) == "ValueError('boom')"
    notes = [note for index in range(1, count) for note in errors[index].__notes__]
    assert notes == [
        f"ubatch {index} was unwound, or failed too, after ubatch 0 raised ValueError: boom"
        for index in range(1, count)
    ]


def test_who_is_cancelled_waits_for_the_error_even_before_it_is_known() -> None:
    """Where a limit passes, all siblings wake at once, and one may be gone before the error is noted."""
    step, order = Step(2, 60.0), list[int]()

    def fail(index: int, error: BaseException) -> None:
        step.fail(index, error)
        order.append(index)

    cancelled = threading.Thread(target=fail, args=(1, UBatchCancelled()))
    cancelled.start()
    cancelled.join(SHORT)
    failed = threading.Thread(target=fail, args=(0, ValueError("boom")))
    failed.start()
    failed.join()
    cancelled.join()
    assert order == [0, 1]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_runner_that_joins_what_it_finds_never_finds_a_part(ours: Ours, failing: int) -> None:
    """V1 keeps no errors: with one lost, outputs of the others would be taken for the whole batch."""
    module = ours()
    runner = StandInRunner(module, 3)
    case = Case(yields=(1, 2, 3), raises=failing)
    assert runner.first_runner(case.bodies(module, [])) == []
    assert isinstance(runner.errors[failing], ValueError)
    assert runner.first_runner(Case(yields=(1, 2, 3)).bodies(module, [])) == [0, 1, 2]


def test_one_runs_at_a_time_in_turns_with_its_own_forward_context_and_stream(ours: Ours) -> None:
    """The order is 0, 1, 2, 0, 1, 2; a stream that a ubatch has switched to is its own after a yield."""
    module, seen = ours(), []

    def body() -> None:
        me = module.dbo_current_ubatch_id()
        for switch in ("dbo_yield", "dbo_yield_and_switch_from_compute_to_comm", "dbo_yield"):
            seen.append((me, module.forward_context._forward_context, module.current_stream()))
            getattr(module, switch)()
        seen.append((me, module.forward_context._forward_context, module.current_stream()))

    StandInRunner(module, 3).second_runner([body] * 3)
    streams = ("compute", "compute", "communication", "communication")
    assert seen == [(index, f"forward context {index}", stream) for stream in streams for index in range(3)]


def test_hooks_are_a_queue_and_the_rest_runs_at_the_end(ours: Ours) -> None:
    """vLLM has one slot, and a second hook overwrites the first."""
    module, ran = ours(), []

    def leaves() -> None:
        for name in ("a", "b"):
            module.dbo_register_recv_hook(
                lambda name=name: ran.append((name, module.dbo_current_ubatch_id()))
            )
        module.dbo_yield()
        module.dbo_register_recv_hook(lambda: ran.append(("c", module.dbo_current_ubatch_id())))

    def runs() -> None:
        module.dbo_maybe_run_recv_hook()
        module.dbo_maybe_run_recv_hook()
        ran.append(("yield", 1))
        module.dbo_yield()

    StandInRunner(module, 2).second_runner([leaves, runs])
    assert ran == [("a", 1), ("b", 1), ("yield", 1), ("c", 1)]


def test_a_hook_that_raises_at_the_end_is_an_error_of_its_step(ours: Ours) -> None:
    """vLLM would not pass the turn on, and hang."""
    module = ours()

    def leaves() -> None:
        module.dbo_register_recv_hook(lambda: 1 / 0)
        module.dbo_yield()

    with pytest.raises(RuntimeError, match="Microbatch 1 of 2") as caught:
        StandInRunner(module, 2).second_runner([leaves, lambda: None])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_forward_context_that_was_not_put_back_is_named(ours: Ours) -> None:
    """vLLM asserts it without a word."""
    module = ours()

    def changes() -> None:
        module.forward_context._forward_context = "another"
        module.dbo_yield()

    with pytest.raises(RuntimeError) as caught:
        StandInRunner(module, 2).second_runner([lambda: None, changes])
    assert isinstance(caught.value.__cause__, ThreadStateError)
    assert "ubatch 1" in str(caught.value.__cause__)


def test_code_that_unwinds_has_its_own_forward_context(ours: Ours) -> None:
    """A `finally` of a cancelled ubatch must not see that of the one that failed."""
    module, seen = ours(), []

    def unwinds() -> None:
        try:
            module.dbo_yield()
        finally:
            seen.append(module.forward_context._forward_context)

    def fails() -> None:
        raise ValueError("boom")

    with pytest.raises(RuntimeError):
        StandInRunner(module, 2).second_runner([unwinds, fails])
    assert seen == ["forward context 0"]


def test_who_computes_too_long_is_named_and_the_step_ends(ours: Ours) -> None:
    """The error of the one that waited comes first, with where each stands."""
    module, enough = ours(SHORT), threading.Event()

    def computes() -> None:
        module.dbo_yield()
        enough.wait(60)
        module.dbo_yield()

    def waits() -> None:
        try:
            module.dbo_yield()
        finally:
            enough.set()

    runner = StandInRunner(module, 2)
    with pytest.raises(RuntimeError, match="Microbatch 1 of 2") as caught:
        runner.second_runner([computes, waits])
    assert isinstance(caught.value.__cause__, WaitTimeoutError)
    assert "ubatch 1 waited 0.2 s for ubatch 0 (ubatch 0 has the turn since yield 1" in str(
        caught.value.__cause__
    )


@pytest.mark.parametrize("absent", [(1,), (0, 1)])
def test_threads_that_fail_before_they_enter_do_not_hang_the_caller(
    ours: Ours, absent: tuple[int, ...]
) -> None:
    """The caller waits at vLLM's barrier, where it would wait for ever; the next step is whole again."""
    module = ours(SHORT)
    runner = StandInRunner(module, 2)

    def before(index: int) -> None:
        if index in absent:
            raise OSError("no device")

    numbers = ", ".join(map(str, absent))
    with pytest.raises(BarrierBrokenError, match=f"ubatch {numbers} did not come within 0.2 s"):
        runner.second_runner([lambda: None] * 2, before)
    assert not module.dbo_enabled()
    assert runner.second_runner([lambda: 5] * 2) == [5, 5]


def test_a_caller_that_never_begins_the_step_leaves_nobody_parked(ours: Ours) -> None:
    """Such as one that failed between the barrier and a capture."""
    module = ours(SHORT)
    runner = StandInRunner(module, 2)
    contexts = module.make_ubatch_contexts(2, runner.barrier)
    errors: dict[int, BaseException] = {}
    threads = [
        threading.Thread(target=runner._carry, args=(context, list, lambda _: None, {}, errors))
        for context in contexts
    ]
    for thread in threads:
        thread.start()
    runner.barrier.wait()
    for thread in threads:
        thread.join()
    assert isinstance(next(iter(errors.values())), WaitTimeoutError)
    assert not module.dbo_enabled()


def test_a_thread_of_a_broken_step_that_comes_late_is_not_counted_in_the_next(ours: Ours) -> None:
    """It would stand in vLLM's barrier for one of the new step."""
    module = ours(SHORT)
    runner = StandInRunner(module, 2)
    late, others = module.make_ubatch_contexts(2, runner.barrier)
    errors: dict[int, BaseException] = {}
    runner._carry(others, list, lambda _: None, {}, errors)
    assert isinstance(errors[1], BarrierBrokenError)
    fresh = module.make_ubatch_contexts(2, runner.barrier)
    runner._carry(late, list, lambda _: None, {}, errors)
    assert isinstance(errors[0], BarrierBrokenError)
    assert "over" in str(errors[0])
    assert fresh[0].ready_barrier.n_waiting == 0


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="the system does not list open descriptors")
def test_descriptors_of_a_step_go_with_the_next_one(ours: Ours) -> None:
    """No cycle holds what a step that went well has made, so nothing waits for the garbage collector."""
    module = ours()
    case, runner = Case(yields=(2, 3, 1)), StandInRunner(module, 3)
    outcome(runner, module, case)
    gc.disable()
    try:
        counts = []
        for _ in range(5):
            outcome(runner, module, case)
            counts.append(len(list(DESCRIPTORS.iterdir())))
    finally:
        gc.enable()
    assert len(set(counts)) == 1
