"""One ubatch after another in the caller's thread: the order that is always right.

Invariant: row order, no thread, no wait; the first error stops the step and later ubatches never start.
"""

from __future__ import annotations

from microbatch.schedules.step import Step
from microbatch.turns.context import UBatchContext, enter, leave
from microbatch.turns.failure import Failures

__all__ = ["run", "run_one"]


def run(step: Step) -> None:
    """Run every ubatch of `step`; raises the first error with the ubatch named in a note."""
    failures = Failures()
    for context in step.contexts:
        if not run_one(step, context, failures):
            failures.raise_first()


def run_one(step: Step, context: UBatchContext, failures: Failures) -> bool:
    """Run one ubatch in the calling thread, where `current_ubatch()` is then set; what it raises is recorded.

    Shared by the schedules whose ubatches do not wait for each other. Returns whether it succeeded.
    """
    token = enter(context)
    try:
        step.store(context, step.compute(context, step.load(context)))
    except BaseException as error:  # noqa: BLE001 - raised in the caller by `raise_first`
        failures.record(context, error)
        return False
    finally:
        leave(token)
    return True
