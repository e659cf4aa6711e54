"""A saved trace follows the trace event format, as Perfetto and chrome://tracing read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from hypothesis import given

import microbatch
from microbatch.timeline.bars import Bar, SeenStep
from microbatch.timeline.chrome import chrome_trace
from tests.support.drawn_bars import schedules

Positive = Annotated[float, msgspec.Meta(ge=0)]


class Named(msgspec.Struct, tag_field="ph", tag="M", forbid_unknown_fields=True):
    """A metadata event: the name of a process or of a thread."""

    name: Literal["process_name", "thread_name"]
    pid: int
    tid: int
    ts: float
    args: dict[Literal["name"], str]


class Complete(msgspec.Struct, tag_field="ph", tag="X", forbid_unknown_fields=True):
    """A complete event: a name, categories, microseconds of its start and of its length."""

    name: str
    cat: str
    pid: int
    tid: int
    ts: Positive
    dur: Positive
    args: dict[str, Any]


class Trace(msgspec.Struct, forbid_unknown_fields=True):
    """The object form of the format."""

    traceEvents: list[Named | Complete]
    displayTimeUnit: Literal["ms", "ns"]
    otherData: dict[str, Any]


@given(schedules())
def test_every_trace_follows_the_schema(schedule: tuple[list[Bar], list[SeenStep]]) -> None:
    """Each bar is one complete event on a lane with a name; times are from the first bar on."""
    bars, _ = schedule
    trace = msgspec.json.decode(json.dumps(chrome_trace(bars)), type=Trace)
    events = [event for event in trace.traceEvents if isinstance(event, Complete)]
    names = {
        (event.pid, event.tid): event.args["name"]
        for event in trace.traceEvents
        if isinstance(event, Named) and event.name == "thread_name"
    }
    first = min((bar.start for bar in bars), default=0)
    assert [(e.ts, e.dur, e.cat, names[e.pid, e.tid]) for e in events] == [
        ((bar.start - first) * 1e6, bar.seconds * 1e6, bar.phase, bar.lane) for bar in bars
    ]


def test_a_file_of_a_real_step_follows_the_schema(tmp_path: Path) -> None:
    """Threads, ubatches, bytes and processor time are in it."""
    sine = microbatch.wrap(np.sin, policy="fixed", num_ubatches=3, verify="never")
    with sine as wrapper, microbatch.record() as seen:
        wrapper(np.ones((30, 4)))
    seen.save(tmp_path / "seen.json")
    trace = msgspec.json.decode((tmp_path / "seen.json").read_bytes(), type=Trace)
    assert sum(isinstance(event, Complete) for event in trace.traceEvents) == len(seen.bars) == 10
