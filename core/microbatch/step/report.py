"""Put what a step was given and what it did into one record: numbers and names, no array.

Invariant: made once a step, in one pass; never raises and never reads the device; it costs a few
microseconds. However many ubatches a step has, the numbers of about 1,024 are kept: 100,000 took 4 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from microbatch.extend.records import FailureKind, StepReport
from microbatch.step.outcome import Outcome
from microbatch.step.planned import Planned

ONE_AT_A_TIME = "memory ran out while parts ran side by side, so the rest ran one at a time"
"""Reason of a step whose unfinished parts had to be run again so."""
MOST_TOLD = 1024
"""Ubatches whose sizes and times are told one by one."""
PILOT = "first parts small, to see what they need"
"""Reason of a step whose memory was not known beforehand."""

if TYPE_CHECKING:
    from microbatch.graphs.step_graphs import StepGraphs


def make_report(
    planned: Planned, outcome: Outcome, graphs: StepGraphs | None, failure: FailureKind | None, seconds: float
) -> StepReport:
    """The report of a step that has ended after `seconds`; `failure` is None where it succeeded."""
    plan = planned.plan
    as_taken = outcome.sizes or plan.sizes
    sizes = sizes_that_ran(planned, outcome) if outcome.guarded else as_taken
    as_planned, cut = sizes is as_taken, len(sizes) > 1
    plain = not (planned.note or outcome.one_at_a_time or outcome.calibration or outcome.why_fewer or graphs)
    replayed = graphs is not None and not any(outcome.seconds)
    times = outcome.seconds if cut and as_planned and not replayed else ()
    told = None if len(sizes) <= MOST_TOLD else some_of(sizes)
    return StepReport(
        step=planned.number,
        num_tokens=plan.num_units,
        num_requests=planned.batch.shape.num_requests,
        sizes=sizes if told is None else tuple(map(sizes.__getitem__, told)),
        seconds=seconds,
        ubatch_seconds=tuple(times if told is None or not times else map(times.__getitem__, told)),
        left_out=0 if told is None else len(sizes) - len(told),
        unit=plan.unit,
        signature=plan.signature,
        backend=planned.device.backend.name,
        schedule=("sequential" if plan.cut is None else planned.schedule) if cut else "whole",
        policy=planned.policy,
        reason=plan.reason if plain else _reason(planned, outcome, graphs),
        limit=plan.limit if as_planned else max(sizes),
        workers=(outcome.threads or plan.workers) if cut else 1,
        pace=outcome.pace,
        memory_before=planned.memory,
        peak_bytes=outcome.peak,
        padding_avoided=plan.cut.padding_avoided if plan.cut is not None else 0,
        oom_sizes=tuple(outcome.failed),
        failure=failure,
        graph_hits=graphs.hits if graphs is not None else 0,
        graph_misses=graphs.misses if graphs is not None else 0,
        graph_captures=graphs.captures if graphs is not None else 0,
        calibration=outcome.calibration or (graphs is not None and graphs.captures > 0),
    )


def sizes_that_ran(planned: Planned, outcome: Outcome) -> tuple[int, ...]:
    """Units of the parts: as planned, or those that ran where a guard of the memory cut them further."""
    plan, sizes = planned.plan, outcome.sizes or planned.plan.sizes
    if not outcome.guarded or len(outcome.ran) in (0, len(sizes)):
        return sizes
    scale = plan.num_units / max(1, planned.rows)  # units of a row: more than one where they are cost
    return tuple([max(1, round(rows * scale)) for rows in outcome.ran])


def some_of(sizes: Sequence[int]) -> list[int]:
    """Numbers of those that are told of more than `MOST_TOLD` ubatches.

    They are spread evenly, the first and the last among them; the largest is one, as memory is learned of it.
    """
    spread = (number * (len(sizes) - 1) // (MOST_TOLD - 1) for number in range(MOST_TOLD))
    return sorted({*spread, sizes.index(max(sizes))})


def _reason(planned: Planned, outcome: Outcome, graphs: StepGraphs | None) -> str:
    """Why the step ran as it did; the schedule's reason only where the batch was cut."""
    reason = planned.plan.reason
    notes = (
        planned.note if planned.plan.cut is not None else "",
        outcome.why_fewer,
        ONE_AT_A_TIME if outcome.one_at_a_time else "",
        PILOT if outcome.calibration else "",
        f"graphs: {graphs.note}" if graphs is not None and graphs.note else "",
    )
    for note in notes:
        if note:
            reason = f"{reason}; {note}" if reason else note
    return reason
