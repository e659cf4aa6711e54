"""Bars as Chrome's trace event format, which Perfetto and chrome://tracing open.

Invariant: an object with `traceEvents`; each bar is a complete event (`ph` X) with microseconds from the
first bar on, each lane a thread with a name. Lanes of threads are one process of the picture, streams and
collectives another each, so that a viewer keeps them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbatch.timeline.bars import Bar, Kind

GROUPS: tuple[tuple[Kind, str], ...] = (
    ("thread", "threads"),
    ("stream", "streams"),
    ("collective", "collectives on their way"),
)
"""The processes of the picture, from top to bottom."""


def chrome_trace(bars: Sequence[Bar], left_out: int = 0) -> dict[str, Any]:
    """The trace, ready for JSON."""
    first = min((bar.start for bar in bars), default=0.0)
    process = {kind: number for number, (kind, _) in enumerate(GROUPS, 1)}
    lanes = {
        lane: number for number, lane in enumerate(dict.fromkeys((bar.kind, bar.lane) for bar in bars), 1)
    }
    names = [
        _named("process_name", process[kind], 0, name)
        for kind, name in GROUPS
        if any(bar.kind == kind for bar in bars)
    ]
    names += [_named("thread_name", process[kind], number, lane) for (kind, lane), number in lanes.items()]
    events = [_event(bar, process[bar.kind], lanes[bar.kind, bar.lane], first) for bar in bars]
    return {
        "traceEvents": names + events,
        "displayTimeUnit": "ms",
        "otherData": {"made by": "microbatch", "bars left out": left_out},
    }


def _named(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "ts": 0, "args": {"name": name}}


def _event(bar: Bar, process: int, thread: int, first: float) -> dict[str, Any]:
    args: dict[str, Any] = {"step": bar.step}
    if bar.ubatch is not None:
        args["ubatch"] = bar.ubatch
    if bar.label:
        args["label"] = bar.label
    if bar.note:
        args["note"] = bar.note
    if bar.nbytes:
        args["bytes"] = bar.nbytes
    if bar.usage is not None:
        args["processor_ms"] = round(bar.usage.seconds * 1e3, 3)
    return {
        "name": bar.phase if bar.ubatch is None else f"{bar.phase} {bar.ubatch}",
        "cat": bar.phase,
        "ph": "X",
        "pid": process,
        "tid": thread,
        "ts": round((bar.start - first) * 1e6, 3),
        "dur": round(bar.seconds * 1e6, 3),
        "args": args,
    }
