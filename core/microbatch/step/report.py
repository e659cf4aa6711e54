"""Put what a step did into one record: numbers and names, no array.

Invariant: making a report never raises and never reads the device; it costs a few microseconds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from microbatch.extend.records import StepReport
from microbatch.sizing.planning import sized_signature

if TYPE_CHECKING:
    from microbatch.step.memory_guard import Watch
    from microbatch.step.planned import Setting
    from microbatch.step.recovery import Recovery
    from microbatch.step.ubatches import Ubatches

__all__ = ["make_report", "watched_report"]

ALONE = "one part at a time, as memory ran out beside others"
"""Reason of a step whose unfinished ubatches had to be run again so."""


def make_report(
    setting: Setting,
    ubatches: Ubatches | None,
    recovery: Recovery,
    seconds: float,
    policy: str,
    error: BaseException | None,
) -> StepReport:
    """The report of a finished or failed step; `ubatches` is None when the function ran on the whole batch."""
    plan, batch, shape = setting.plan, setting.batch, setting.batch.shape
    cut = ubatches is not None and len(ubatches.cut.slices) > 1
    return StepReport(
        step=setting.number,
        num_tokens=plan.num_units,
        num_requests=shape.num_requests,
        sizes=_sizes(plan.unit, ubatches) if ubatches is not None and cut else (plan.num_units,),
        seconds=seconds,
        ubatch_seconds=ubatches.seconds() if ubatches is not None and cut else (),
        unit=plan.unit,
        signature=batch.signature if plan.unit == "rows" else sized_signature(batch.signature, plan.unit),
        backend=setting.backend.name,
        schedule=setting.schedule if cut else "whole",
        policy=policy,
        reason=_reason(_reason(plan.reason, setting.note if cut else ""), ALONE if recovery.alone else ""),
        limit=plan.limit,
        workers=plan.workers if cut else 1,
        memory_before=setting.memory,
        padding_avoided=ubatches.cut.padding_avoided if ubatches is not None else 0,
        oom_sizes=tuple(recovery.sizes),
        failure=None if error is None else setting.backend.classify(error),
    )


def watched_report(report: StepReport, setting: Setting, recovery: Recovery, watch: Watch) -> StepReport:
    """The report of a step whose memory was watched: the parts that ran, and their peak.

    A step whose first ubatch was a pilot is a calibration: its time says nothing of its sizes.
    """
    sizes, ran = report.sizes, recovery.ran
    limit = report.limit
    if ran:
        shape = setting.batch.shape
        scale = report.num_tokens / max(
            1, shape.num_tokens
        )  # units of a row: more than one where they are cost
        rest = max(0, shape.num_tokens - sum(ran)) if recovery.bound is None else 0
        parts = [max(1, round(rows * scale)) for rows in ran]
        sizes = (*parts, *(sizes[1:] if rest else ()))
        limit = max(sizes)
    cut = len(sizes) > 1
    peak = watch.finish(tuple(sizes), report.workers) if report.failure is None else None
    return replace(
        report,
        sizes=sizes,
        ubatch_seconds=report.ubatch_seconds if len(report.ubatch_seconds) == len(sizes) else (),
        schedule=report.schedule if report.schedule != "whole" or not cut else "sequential",
        limit=limit if cut else report.limit,
        reason=_reason(report.reason, "first parts small, to see what they need" if watch.piloted else ""),
        peak_bytes=peak,
        calibration=watch.piloted,
    )


def _sizes(unit: str, ubatches: Ubatches) -> tuple[int, ...]:
    """Units of each part: padded cost where the unit is cost, else tokens."""
    cut = ubatches.cut
    if unit == "cost" and cut.trims is not None:
        return tuple(piece.num_reqs * trim for piece, trim in zip(cut.slices, cut.trims, strict=True))
    return tuple(piece.num_tokens for piece in cut.slices)


def _reason(reason: str, note: str) -> str:
    return f"{reason}; {note}" if reason and note else reason or note
