"""The states of a ubatch and which may follow which.

Invariant: the state of a ubatch changes by the table only. A ubatch that was never prepared cannot complete,
and one that failed starts again only from IDLE. While a part runs again in smaller ones it stays EXECUTING.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


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


class UBatchCancelled(BaseException):
    """Raised at a yield point of a ubatch whose sibling failed, so that its `finally` blocks run.

    A BaseException, so that `except Exception` in model code does not stop the unwinding.
    """
