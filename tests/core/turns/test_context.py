"""Contexts: signal and wait, state, and which ubatch is current."""

from __future__ import annotations

import contextvars

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError, ArgumentValueError, SliceError, StateTransitionError
from microbatch.step.ubatches import make_ubatch_contexts
from microbatch.turns.context import PLACE, UBatchContext, current_ubatch, enter
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.state import UBatchState
from tests.support.taking_turns import contexts, entered


@pytest.fixture
def context() -> UBatchContext:
    return contexts(2)[1]


def test_signal_lets_one_wait_pass(context: UBatchContext) -> None:
    assert context.wait_ready(0) is False
    context.signal_ready()
    context.signal_ready()
    assert context.wait_ready(0) is True
    assert context.wait_ready(0) is False


def test_gate_is_the_same_for_every_thread_that_asks(context: UBatchContext) -> None:
    gate = context.cpu_wait_event
    context._gates.clear()
    first, seen = context.cpu_wait_event, []
    ThreadRuntime().spawn(lambda: seen.append(context.cpu_wait_event), name="other").join(30)
    assert seen == [first]
    assert first is not gate


def test_reset_forgets_signal_event_and_thread(context: UBatchContext) -> None:
    context.signal_ready()
    context.gpu_wait_event = object()
    with entered(context):
        assert context.thread_id == ThreadRuntime().current()
    context.advance(UBatchState.FAILED)
    context.reset()
    assert (context.state, context.gpu_wait_event, context.thread_id) == (UBatchState.IDLE, None, None)
    assert context.wait_ready(0) is False
    context.reset()


@pytest.mark.parametrize("steps", [["PREPARING"], ["PREPARING", "EXECUTING"]])
def test_a_running_context_cannot_be_reset(context: UBatchContext, steps: list[str]) -> None:
    for step in steps:
        context.advance(UBatchState[step])
    with pytest.raises(StateTransitionError):
        context.reset()
    assert context.state is UBatchState[steps[-1]]


def test_the_state_is_changed_by_the_table_only(context: UBatchContext) -> None:
    with pytest.raises(AttributeError):
        context.state = UBatchState.COMPLETED  # type: ignore[misc]
    with pytest.raises(StateTransitionError):
        context.advance(UBatchState.COMPLETED)
    assert context.state is UBatchState.IDLE


def test_entered_contexts_nest_and_are_put_back() -> None:
    outer, inner = contexts(2)
    assert current_ubatch() is None
    with entered(outer):
        former = PLACE.get()
        enter(inner)
        assert current_ubatch() is inner
        PLACE.set(former)
        PLACE.set(former)
        assert current_ubatch() is outer
    assert current_ubatch() is None


def test_other_threads_do_not_see_the_current_ubatch(context: UBatchContext) -> None:
    seen: list[object] = []
    with entered(context):
        ThreadRuntime().spawn(
            lambda: contextvars.Context().run(lambda: seen.append(current_ubatch())), name="x"
        ).join(30)
    assert seen == [None]


@given(st.integers(1, 8), st.integers(1, 200), st.integers(1, 50))
def test_made_contexts_cover_all_tokens_once(num_ubatches: int, num_tokens: int, num_reqs: int) -> None:
    if num_tokens < max(num_ubatches, num_reqs):
        with pytest.raises(SliceError):
            make_ubatch_contexts(num_ubatches, num_tokens, num_reqs)
        return
    made = make_ubatch_contexts(num_ubatches, num_tokens, num_reqs)
    assert [context.ubatch_id for context in made] == list(range(num_ubatches))
    assert {context.num_ubatches for context in made} == {num_ubatches}
    assert [row for c in made for row in range(*c.slice_info.token_slice.indices(num_tokens))] == list(
        range(num_tokens)
    )
    sizes = [context.slice_info.num_tokens for context in made]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((True, 8, 8), ArgumentTypeError),
        ((2.0, 8, 8), ArgumentTypeError),
        ((0, 8, 8), ArgumentValueError),
        ((-1, 8, 8), ArgumentValueError),
        ((2, 8, 0), SliceError),
        ((9, 8, 8), SliceError),
    ],
)
def test_counts_that_are_none(arguments: tuple[int, int, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        make_ubatch_contexts(*arguments)


def test_repr_names_ubatch_and_tokens(context: UBatchContext) -> None:
    assert repr(context).startswith("<ubatch 1 of 2, IDLE, ")
