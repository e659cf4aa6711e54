"""The table of transitions, whole."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest

from microbatch.errors import StateTransitionError
from microbatch.turns.state import TRANSITIONS, UBatchState
from tests.support.taking_turns import contexts

LEGAL = {
    ("IDLE", "PREPARING"), ("IDLE", "FAILED"),
    ("PREPARING", "EXECUTING"), ("PREPARING", "FAILED"),
    ("EXECUTING", "COMPLETED"), ("EXECUTING", "FAILED"),
    ("COMPLETED", "IDLE"), ("FAILED", "IDLE"),
}  # fmt: skip


WAYS = {
    "IDLE": [],
    "PREPARING": ["PREPARING"],
    "EXECUTING": ["PREPARING", "EXECUTING"],
    "COMPLETED": ["PREPARING", "EXECUTING", "COMPLETED"],
    "FAILED": ["FAILED"],
}
"""How a new context comes into each state."""


@pytest.mark.parametrize(("state", "new"), list(itertools.product(UBatchState, UBatchState)))
def test_each_pair_of_states(state: UBatchState, new: UBatchState) -> None:
    context = contexts(1)[0]
    for step in WAYS[state.name]:
        context.advance(UBatchState[step])
    assert context.state is state
    if (state.name, new.name) in LEGAL:
        context.advance(new)
        assert context.state is new
    else:
        with pytest.raises(StateTransitionError) as caught:
            context.advance(new)
        assert context.state is state
        assert state.name in str(caught.value)
        assert new.name in str(caught.value)
        assert all(follower.name in str(caught.value) for follower in TRANSITIONS[state])


@pytest.mark.parametrize("state", UBatchState)
def test_who_raises_has_failed_unless_it_has_ended(state: UBatchState) -> None:
    context = contexts(1)[0]
    for step in WAYS[state.name]:
        context.advance(UBatchState[step])
    context.fail()
    ended = state in (UBatchState.COMPLETED, UBatchState.FAILED)
    assert context.state is (state if ended else UBatchState.FAILED)


def test_states_are_themselves_after_a_copy_and_a_pickle() -> None:
    for state in UBatchState:
        assert {state: 1}[copy.deepcopy(state)] == {state: 1}[pickle.loads(pickle.dumps(state))] == 1


def test_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[UBatchState.IDLE] = frozenset()  # type: ignore[index]
