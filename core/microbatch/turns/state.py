"""The states of a ubatch and which may follow which.

Invariant: a change goes through `advance`, so a ubatch that was never prepared cannot complete, and one that
failed starts again only from IDLE (which is how a part is retried after running out of memory).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from microbatch.errors import StateTransitionError

__all__ = ["TRANSITIONS", "UBatchState", "advance"]


class UBatchState(enum.Enum):
    """Where one ubatch stands in its step."""

    IDLE = "idle"
    """Planned, not begun; also what `reset` goes back to."""
    PREPARING = "preparing"
    """Its part of the batch is being cut out."""
    EXECUTING = "executing"
    """The wrapped function runs on it, or it is parked at a yield point."""
    COMPLETED = "completed"
    """Its outputs are stored."""
    FAILED = "failed"
    """It raised, or was unwound because a sibling did."""


TRANSITIONS: Mapping[UBatchState, frozenset[UBatchState]] = MappingProxyType(
    {
        UBatchState.IDLE: frozenset({UBatchState.PREPARING, UBatchState.FAILED}),
        UBatchState.PREPARING: frozenset({UBatchState.EXECUTING, UBatchState.FAILED}),
        UBatchState.EXECUTING: frozenset({UBatchState.COMPLETED, UBatchState.FAILED}),
        UBatchState.COMPLETED: frozenset({UBatchState.IDLE}),
        UBatchState.FAILED: frozenset({UBatchState.IDLE}),
    }
)
"""State -> the states that may follow it."""


def advance(state: UBatchState, new: UBatchState) -> UBatchState:
    """Return `new` if it may follow `state`; raises StateTransitionError naming both and what may follow."""
    if new in TRANSITIONS[state]:
        return new
    allowed = ", ".join(sorted(follower.name for follower in TRANSITIONS[state]))
    raise StateTransitionError(
        f"a ubatch in state {state.name} cannot become {new.name}; it can become {allowed}"
    )


class UBatchCancelled(BaseException):
    """Raised at a yield point of a ubatch whose sibling failed, so that its `finally` blocks run.

    A BaseException, so that `except Exception` in model code does not stop the unwinding.
    """
