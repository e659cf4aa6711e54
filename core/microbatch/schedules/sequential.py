"""One ubatch after another in the caller's thread: the order that is always right.

Invariant: row order, no thread, no wait; the first error stops the step and later ubatches never start.
"""

from __future__ import annotations

from microbatch.schedules.step import Queue, Step
from microbatch.turns.context import PLACE, UBatchContext, enter
from microbatch.turns.failure import Failures


def run(step: Step) -> None:
    """Run every ubatch of `step`; raises the first error with the ubatch named in a note."""
    failures = Failures()
    try:
        _run_each(step, failures)
    finally:
        failures.records = None


def _run_each(step: Step, failures: Failures) -> None:
    """The loop has a function of its own: Python 3.12 and 3.13 do not guard a loop's jump back in a `try`."""
    for context in step.contexts:
        if not run_one(step, context, failures):
            failures.raise_first()
    while step.queue is not None and take(step, step.queue, failures):
        pass
    if failures.records:
        failures.raise_first()


def take(step: Step, queue: Queue, failures: Failures) -> bool:
    """Run the next ubatch; False when there is none left or it failed, and then nobody takes another."""
    try:
        context = queue.popleft()
    except IndexError:
        return False
    if run_one(step, context, failures):
        return True
    queue.clear()
    return False


def run_one(step: Step, context: UBatchContext, failures: Failures) -> bool:
    """Run one ubatch in the calling thread, where `current_ubatch()` is then set; whether it succeeded.

    Shared by the schedules whose ubatches do not wait for each other. What it raises is recorded in
    `failures`: a frame that kept the error would be a reference cycle.
    """
    former = PLACE.get()
    try:
        try:
            enter(context)
            step.store(context, step.compute(context, step.load(context)))
        finally:
            PLACE.set(former)
    except BaseException as error:  # noqa: BLE001 - raised in the caller by `raise_first`
        failures.record(context, error)
        return False
    return True
