"""Named ranges around each phase of each ubatch, for a profiler.

Invariant: without MICROBATCH_TRACE=1, or with a backend that has no ranges, a step is run as it is. A range
is opened and closed in the thread that does the work, and covers what that launches; what the device does
later has no name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from microbatch.schedules.step import Step
from microbatch.turns.context import UBatchContext

VARIABLE = "MICROBATCH_TRACE"
"""Set to 1 before a wrapper is built to name its ubatches in a profile."""


def tracing() -> bool:
    """Whether the environment asks for ranges."""
    return os.environ.get(VARIABLE, "") == "1"


def traced(step: Step) -> Step:
    """`step` with a range `ubatch 1/4 compute` around each call of load, compute and store."""
    ranges = step.device.ranges
    if ranges is None:
        return step

    def named(phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(context: UBatchContext, *rest: Any) -> Any:
            with ranges.range(f"ubatch {context.ubatch_id}/{context.num_ubatches} {phase}"):
                return work(context, *rest)

        return run

    return replace(
        step,
        load=named("load", step.load),
        compute=named("compute", step.compute),
        store=named("store", step.store),
    )
