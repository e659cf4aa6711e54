"""Run one ubatch in the calling thread; shared by the schedules whose ubatches do not wait for each other."""

from __future__ import annotations

from microbatch.schedules.step import Step
from microbatch.turns.context import UBatchContext, enter, leave
from microbatch.turns.failure import Failures


def run_one(step: Step, context: UBatchContext, failures: Failures) -> bool:
    """Execute `context` with `current_ubatch()` set; record what it raises. Returns whether it succeeded."""
    token = enter(context)
    try:
        step.execute(context)
    except BaseException as error:  # noqa: BLE001 - raised in the caller by `raise_first`
        failures.record(context, error)
        return False
    finally:
        leave(token)
    return True
