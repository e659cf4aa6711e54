"""A report for people: a line for a debugger, a screen of text, a table for a notebook.

Invariant: however many parts a step had, each of them fits a screen; numbers of parts are told as runs of
equal ones, or as least, median and most.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any, TypeAlias

from microbatch.options.messages import shorten, unit_label

StepReport: TypeAlias = Any
"""A report; its type, in `records.py`, knows this module."""

RUNS = 4
"""Runs of equal sizes that are told one by one."""
SHOWN = 8
"""Numbers of a field that a line for a debugger shows."""
LONGEST = 240
"""Characters of a reason."""
FAILED = MappingProxyType(
    {
        "oom": "memory ran out",
        "size": "a part was too large for an index or a launch",
        "suspect": "memory may have run out",
        "dead": "the device is unusable",
        "other": "an error that is not one of memory",
    }
)
"""`FailureKind` in words."""


def line_of(report: StepReport) -> str:
    """The record as its constructor is called, with long tuples cut short."""
    values = [f"{field.name}={_value(getattr(report, field.name))}" for field in fields(report)]
    return f"{type(report).__name__}({', '.join(values)})"


def text_of(report: StepReport) -> str:
    """Aligned lines."""
    return "\n".join(f"{name:<8} {value}" for name, value in _lines(report))


def html_of(report: StepReport) -> str:
    """A table."""
    from html import escape

    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _lines(report)
    )
    return f"<table>{rows}</table>"


def sizes_told(sizes: Sequence[int], *, whole: bool = True) -> str:
    """Sizes of parts in row order: `12 x 40, 17`, or least, median and most where these are only some."""
    runs = [(size, len(list(same))) for size, same in itertools.groupby(sizes)]
    if whole and len(runs) <= RUNS:
        return ", ".join(f"{count:,} x {size:,}" if count > 1 else f"{size:,}" for size, count in runs)
    ordered = sorted(sizes)
    return f"{ordered[0]:,} / {ordered[len(ordered) // 2]:,} / {ordered[-1]:,} (least / median / most)"


def _lines(report: StepReport) -> list[tuple[str, str]]:
    unit = unit_label(report.unit)
    graphs = f"{report.graph_hits} replayed, {report.graph_misses} not, {report.graph_captures} captured"
    lines = [
        ("step", f"{report.step}: {report.num_requests:,} rows {_ended(report)}"),
        (
            "cut",
            f"{report.num_ubatches:,} parts of {unit}: {sizes_told(report.sizes, whole=not report.left_out)}"
            if report.split
            else "no",
        ),
        ("why", _why(report)),
        ("ran", f"{report.schedule} {_where(report)}, backend {report.backend}" if report.schedule else ""),
        ("parts", _seconds(report.ubatch_seconds, turns=report.schedule == "pingpong")),
        ("padding", f"{report.padding_avoided:,} {unit} avoided" if report.padding_avoided else ""),
        ("retries", f"ran out of memory at {sizes_told(report.oom_sizes)}" if report.oom_sizes else ""),
        ("memory", f"{report.peak_bytes:,} bytes at peak above the start" if report.peak_bytes else ""),
        ("graphs", graphs if report.graph_hits or report.graph_misses or report.graph_captures else ""),
    ]
    return [(name, value) for name, value in lines if value]


def _why(report: StepReport) -> str:
    policy = f"policy {report.policy}" if report.policy else ""
    reason = shorten(report.reason, LONGEST)
    return f"{reason} ({policy})" if reason and policy else reason or policy


def _ended(report: StepReport) -> str:
    if report.failure is not None:
        return f"failed after {report.seconds:.4g} s: {FAILED[report.failure.value]}"
    return f"in {report.seconds:.4g} s, {report.rows_per_second:,.0f} rows/s"


def _where(report: StepReport) -> str:
    if report.schedule == "pingpong" and report.split:
        return "taking turns"
    return f"on {report.workers} thread{'s' * (report.workers > 1)}"


def _seconds(seconds: Sequence[float], *, turns: bool) -> str:
    if not any(seconds):
        return ""
    ordered = sorted(seconds)
    least, median, most = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    others = ", the turns of the others included" * turns
    return f"{least:.3g} / {median:.3g} / {most:.3g} s (least / median / most{others})"


def _value(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > SHOWN:
        return f"({', '.join(map(repr, value[: SHOWN // 2]))}, ... {len(value):,} in all)"
    return shorten(repr(value), LONGEST)
