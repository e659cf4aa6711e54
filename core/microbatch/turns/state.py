"""The states of a ubatch and which may follow which.

Invariant: the state of a ubatch changes by the table only. A ubatch that was never prepared cannot complete,
and one that failed starts again only from IDLE. One whose part is run again in smaller parts stays EXECUTING
meanwhile.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from microbatch.errors import StateTransitionError

__all__ = ["TRANSITIONS", "UBatchCancelled", "UBatchState", "failed", "illegal"]


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

    # Each state is one object. Enum's own hash is a call of Python code, twice for each look at the table:
    # 0.1 us.
    __hash__ = object.__hash__


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


def illegal(state: UBatchState, new: UBatchState) -> StateTransitionError:
    """The error for a `new` that may not follow `state`: it names both, and what may follow."""
    allowed = ", ".join(sorted(follower.name for follower in TRANSITIONS[state]))
    return StateTransitionError(
        f"a ubatch in state {state.name} cannot become {new.name}; it can become {allowed}"
    )


def failed(state: UBatchState) -> UBatchState:
    """What a ubatch in `state` becomes when it raises: FAILED, unless it has ended already.

    A ubatch that failed before stays FAILED. One that completed stays COMPLETED: its rows are in the result,
    and what it raised afterwards (a receive hook, the caller's progress function) is an error of the step,
    not of its rows. Nothing is raised here, since this is called while an error is being recorded.
    """
    return UBatchState.FAILED if UBatchState.FAILED in TRANSITIONS[state] else state


class UBatchCancelled(BaseException):
    """Raised at a yield point of a ubatch whose sibling failed, so that its `finally` blocks run.

    A BaseException, so that `except Exception` in model code does not stop the unwinding.
    """
