"""One ubatch after another in the caller's thread: the order that is always right.

Invariant: row order, no thread, no wait; the first error stops the step and later ubatches never start.
"""

from __future__ import annotations

from microbatch.schedules.step import Step
from microbatch.turns.context import UBatchContext, enter, leave, place
from microbatch.turns.failure import Failures


def run(step: Step) -> None:
    """Run every ubatch of `step`; raises the first error with the ubatch named in a note."""
    for context in step.contexts:
        failures = run_one(step, context)
        if failures is not None:
            failures.raise_first()


def run_one(step: Step, context: UBatchContext, failures: Failures | None = None) -> Failures | None:
    """Run one ubatch in the calling thread, where `current_ubatch()` is then set; None where it succeeded.

    Shared by the schedules whose ubatches do not wait for each other. What it raises is recorded in
    `failures`, or in new ones, which are returned: a frame that kept the error would be a reference cycle.
    """
    former = place()
    try:
        try:
            enter(context)
            step.store(context, step.compute(context, step.load(context)))
        finally:
            leave(former)
    except BaseException as error:  # noqa: BLE001 - raised in the caller by `raise_first`
        leave(former)  # again: an interrupt may have come just before the first one
        failures = failures or Failures()
        failures.record(context, error)
        return failures
    return None
