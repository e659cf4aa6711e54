"""One ubatch after another in the caller's thread: the order that is always right.

Invariant: row order, no thread, no wait; the first error stops the step and later ubatches never start.
"""

from __future__ import annotations

from microbatch.schedules.one import run_one
from microbatch.schedules.step import Step
from microbatch.turns.failure import Failures


def run(step: Step) -> None:
    """Run every ubatch of `step`; raises the first error with the ubatch named in a note."""
    failures = Failures()
    for context in step.contexts:
        if not run_one(step, context, failures):
            break
    failures.raise_first()
