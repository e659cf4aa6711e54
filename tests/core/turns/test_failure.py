"""First error wins, others are told, nothing is kept."""

from __future__ import annotations

import gc
import weakref
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import wrap
from microbatch.errors import BarrierBrokenError
from microbatch.schedules import parallel, pingpong, sequential, streamed
from microbatch.turns.failure import Failures
from microbatch.turns.state import UBatchCancelled, UBatchState
from tests.support.taking_turns import contexts

SCHEDULES = [parallel, pingpong, sequential, streamed]
KINDS = {
    "value": ValueError,
    "cancelled": UBatchCancelled,
    "interrupt": KeyboardInterrupt,
    "exit": SystemExit,
}


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
def test_which_error_is_raised(kinds: list[str]) -> None:
    failures, errors = Failures(), [KINDS[kind](number) for number, kind in enumerate(kinds)]
    for context, error in zip(contexts(len(errors)), errors, strict=True):
        failures.record(context, error)
        assert context.state is UBatchState.FAILED
    stops = [error for error in errors if isinstance(error, KeyboardInterrupt | SystemExit)]
    causes = [error for error in errors if not isinstance(error, UBatchCancelled)]
    with pytest.raises(BaseException) as caught:
        failures.raise_first()
    if not causes:
        assert isinstance(caught.value, BarrierBrokenError)
        return
    assert caught.value is (stops or causes)[0]
    others = tuple(error for error in causes if error is not caught.value)
    interrupted = isinstance(caught.value, KeyboardInterrupt)
    kept = tuple(error for error in others if not (interrupted and isinstance(error, KeyboardInterrupt)))
    assert getattr(caught.value, "ubatch_errors", ()) == kept
    assert len(caught.value.__notes__) == 1 + len(others)


def test_what_was_raised_while_the_first_was_dealt_with_is_only_told_of() -> None:
    """It has the first one as its context: each would keep the other."""
    failures, first, later = Failures(), ValueError("first"), RuntimeError("later")
    later.__context__ = first
    for context, error in zip(contexts(2), (first, later), strict=True):
        failures.record(context, error)
    with pytest.raises(ValueError, match="first") as caught:
        failures.raise_first()
    assert not hasattr(caught.value, "ubatch_errors")
    assert "also raised RuntimeError: later" in caught.value.__notes__[1]


def test_without_a_failure_nothing_is_raised() -> None:
    failures = Failures()
    failures.raise_first()
    assert not failures.any()


def test_one_error_raised_by_several_ubatches_is_told_once() -> None:
    failures, error = Failures(), ValueError("shared")
    for context in contexts(3):
        failures.record(context, error)
    with pytest.raises(ValueError, match="shared") as caught:
        failures.raise_first()
    assert caught.value.__notes__ == ["in ubatch 0 of 3 (tokens 0:1)"]


def test_an_error_after_the_rows_were_stored_is_the_steps_and_not_the_ubatchs() -> None:
    failures, context = Failures(), contexts(2)[1]
    for state in (UBatchState.PREPARING, UBatchState.EXECUTING, UBatchState.COMPLETED):
        context.advance(state)
    failures.record(context, ValueError("in a receive hook"))
    assert context.state is UBatchState.COMPLETED
    with pytest.raises(ValueError, match="receive hook") as caught:
        failures.raise_first()
    assert caught.value.__notes__ == ["in ubatch 1 of 2 (tokens 1:2)"]


def test_a_ubatch_may_raise_twice() -> None:
    failures, context = Failures(), contexts(1)[0]
    for text in ("first", "second"):
        failures.record(context, ValueError(text))
        assert context.state is UBatchState.FAILED
    with pytest.raises(ValueError, match="first"):
        failures.raise_first()


def test_an_error_outside_any_ubatch_is_the_callers() -> None:
    failures = Failures()
    failures.record(contexts(2)[1], ValueError("first"))
    failures.record(None, RuntimeError("in the schedule"))
    with pytest.raises(ValueError, match="first") as caught:
        failures.raise_first()
    assert "the caller also raised RuntimeError: in the schedule" in caught.value.__notes__


def test_a_raised_error_leaves_no_cycle() -> None:
    class Payload:
        pass

    def fail() -> weakref.ref[Payload]:
        payload = Payload()
        failures = Failures()
        try:
            local = payload
            raise ValueError("with a payload in its frame")
        except ValueError as error:
            failures.record(None, error)
            del local
        try:
            failures.raise_first()
        except ValueError:
            pass
        return weakref.ref(payload)

    gc.disable()
    try:
        assert fail()() is None
    finally:
        gc.enable()


def test_what_outlives_its_step_is_not_kept_and_stops() -> None:
    """A stage that still works when a second interrupt ends the step: its error would lead back to itself."""
    failures = Failures()
    failures.record(None, KeyboardInterrupt())
    failures.records = None  # the step is over
    (context,) = contexts(1)
    failures.record(context, ValueError("late"))
    assert failures.any()
    failures.raise_first()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda each: each.__name__)
def test_every_schedule_ends_its_records(schedule: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Failures] = []

    def watched() -> Failures:
        made.append(Failures())
        return made[-1]

    monkeypatch.setattr(schedule, "Failures", watched)
    name = schedule.__name__.rpartition(".")[2]
    with wrap(lambda x: x * 2, schedule=name, num_ubatches=3) as wrapper:
        wrapper(np.ones((9, 2)))
    assert made
    assert all(failures.records is None for failures in made)
