"""Why nothing overlapped in a step that was cut, or why it was not cut at all.

Invariant: a cause is named only with what was measured for it, and is silent where that is not there. Each
function here is one cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from microbatch.timeline.bars import Bar
from microbatch.timeline.case import Case
from microbatch.timeline.finding import Finding
from microbatch.timeline.on_the_way import BLOCKING, DEVICE_WIDE, NO_YIELD, START

NOT_CUT = "not cut: "
"""How the reason of a report begins where the function must not be cut."""
ONE_CONNECTION = "CUDA_DEVICE_MAX_CONNECTIONS"
TAKES_TURNS, OVERLAPPING = "pingpong", ("pingpong", "streamed")


def may_not_be_cut(case: Case) -> Finding | None:
    """The reason names the leaf."""
    reason = "" if case.report is None else case.report.reason
    if not reason.startswith(NOT_CUT):
        return None
    return Finding(
        cause="may not be cut",
        text="the function may not be cut, so each step ran whole and nothing can overlap",
        evidence=reason.removeprefix(NOT_CUT),
        remedy="make that output one entry per row, or declare it in a Layout; `microbatch check` tries more",
    )


def ran_whole(case: Case) -> Finding | None:
    """Nobody wanted it cut."""
    report = case.report
    if case.cut or report is None or report.reason.startswith(NOT_CUT) or report.num_requests < 2:
        return None
    return Finding(
        cause="not cut",
        text="the step was not cut, so there is nothing that could overlap",
        evidence=report.reason or f"{report.num_requests} rows in one part",
        remedy="where parts are worth it, say so: num_ubatches=2, or a smaller max_tokens_per_ubatch",
    )


def no_turns(case: Case) -> Finding | None:
    """Ubatches communicate, but wait for each other."""
    waiting = case.of("communicate") + case.of("communicate", kind="collective")
    if not case.cut or not waiting or case.schedule in ("", *OVERLAPPING):
        return None
    return Finding(
        cause="no turns",
        text=f"the ubatches communicate, and the schedule {case.schedule} lets none compute meanwhile",
        evidence=_told(waiting),
        remedy='use schedule="pingpong"',
    )


def blocking_collectives(case: Case) -> Finding | None:
    """Started and waited for in one call."""
    bars = case.noted(BLOCKING)
    if not bars or not case.cut or case.schedule != TAKES_TURNS:
        return None
    return Finding(
        cause="blocking collectives",
        text="collectives are waited for in the call that starts them, so no other ubatch gets the turn",
        evidence=_told(bars),
        remedy="start them with async_op=True and call dbo_yield() before wait(), or set"
        " yield_at_collectives=True",
    )


def missing_yield(case: Case) -> Finding | None:
    """Started, and waited for without a yield in between."""
    bars = case.noted(NO_YIELD)
    if not bars or not case.cut or case.schedule != TAKES_TURNS:
        return None
    return Finding(
        cause="missing yield",
        text="collectives are waited for without a yield after their start, so no other ubatch computes",
        evidence=_told(bars),
        remedy="call microbatch.dbo.dbo_yield() between start and wait(), or set yield_at_collectives=True",
    )


def device_wide_waits(case: Case) -> Finding | None:
    """The host waits for all streams."""
    bars = case.noted(DEVICE_WIDE)
    if not bars or not case.cut:
        return None
    return Finding(
        cause="device-wide waits",
        text="the function waits for the whole device, the work of the other ubatches included",
        evidence=_told(bars),
        remedy="wait for an event of the stream that is needed, or leave the waiting to whoever reads the"
        " result",
    )


def one_stream(case: Case) -> Finding | None:
    """All device work is in one order."""
    if not case.cut or not case.asynchronous:
        return None
    lanes = {bar.lane for bar in case.bars if bar.kind == "stream"}
    moved = case.of("communicate", kind="stream") + case.of("communicate", kind="collective")
    if case.schedule == TAKES_TURNS and not moved and not case.of("communicate"):
        evidence = f"{len(case.of('compute'))} stretches of work on compute streams, none on another"
    elif len(lanes) == 1 or (not lanes and case.schedule == "sequential"):
        stream = next(iter(lanes), "the stream of the caller")
        evidence = f"schedule {case.schedule}: all ubatches ran on {stream}"
    else:
        return None
    return Finding(
        cause="one stream",
        text="all work of the device is on one stream or keeps the order of one, so nothing overlaps",
        evidence=evidence,
        remedy='with schedule="pingpong" put communication between dbo_switch_to_comm_sync() and'
        ' dbo_switch_to_compute_sync(); for batches on the host use schedule="streamed"',
    )


def one_connection(case: Case) -> Finding | None:
    """CUDA itself keeps one order."""
    if case.process.environment.get(ONE_CONNECTION) != "1":
        return None
    if not case.cut or not case.asynchronous or case.schedule not in OVERLAPPING:
        return None
    return Finding(
        cause="one connection",
        text="the process has one queue to the device, so work of one stream waits for that of others",
        evidence=f"{ONE_CONNECTION}=1 when the recording began",
        remedy=f"unset {ONE_CONNECTION}, or set it to 8 or more, before the process starts",
    )


def _told(bars: Sequence[Bar]) -> str:
    """`4 x all_reduce, 12.3 ms`."""
    counts = Counter(bar.label or bar.phase for bar in bars if bar.note != START)
    names = ", ".join(f"{count} x {name}" for name, count in counts.most_common(3))
    return f"{names}, {sum(bar.seconds for bar in bars) * 1e3:.3g} ms in all"
