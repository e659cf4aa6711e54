"""The table of transitions, whole."""

from __future__ import annotations

import itertools

import pytest

from microbatch.errors import StateTransitionError
from microbatch.turns.state import TRANSITIONS, UBatchState, advance

LEGAL = {
    ("IDLE", "PREPARING"), ("IDLE", "FAILED"),
    ("PREPARING", "EXECUTING"), ("PREPARING", "FAILED"),
    ("EXECUTING", "COMPLETED"), ("EXECUTING", "FAILED"),
    ("COMPLETED", "IDLE"), ("FAILED", "IDLE"),
}  # fmt: skip


@pytest.mark.parametrize(("state", "new"), list(itertools.product(UBatchState, UBatchState)))
def test_each_pair_of_states(state: UBatchState, new: UBatchState) -> None:
    if (state.name, new.name) in LEGAL:
        assert advance(state, new) is new
    else:
        with pytest.raises(StateTransitionError) as caught:
            advance(state, new)
        assert state.name in str(caught.value)
        assert new.name in str(caught.value)
        assert all(follower.name in str(caught.value) for follower in TRANSITIONS[state])


def test_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[UBatchState.IDLE] = frozenset()  # type: ignore[index]
