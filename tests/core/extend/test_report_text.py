"""A report fits a screen, whatever the step was, and a notebook shows a table of it."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import FailureKind, StepReport
from microbatch.extend.report_text import sizes_told


@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=3000),
    oom=st.lists(st.integers(1, 10**6), max_size=300),
    reason=st.text(max_size=2000),
    failure=st.none() | st.sampled_from(FailureKind),
)
def test_it_fits_a_screen(sizes: list[int], oom: list[int], reason: str, failure: FailureKind | None) -> None:
    report = StepReport(
        step=3,
        num_tokens=sum(sizes),
        num_requests=sum(sizes),
        sizes=tuple(sizes),
        seconds=1.5,
        ubatch_seconds=tuple(0.001 for _ in sizes),
        schedule="parallel",
        reason=reason,
        oom_sizes=tuple(oom),
        failure=failure,
        graph_hits=3,
        peak_bytes=10**9,
    )
    assert len(repr(report)) < 2000
    assert len(str(report)) < 1500
    assert f"{sum(sizes):,} rows" in str(report)
    assert len(report._repr_html_()) < 8000


def test_a_small_report_reads_back() -> None:
    """As the records of dataclasses do."""
    names = {"StepReport": StepReport, "FailureKind": FailureKind}
    report = StepReport(step=1, num_tokens=7, num_requests=7, sizes=(4, 3), seconds=0.5, reason="it's fixed")
    assert eval(repr(report), names) == report


def test_three_thousand_parts() -> None:
    with microbatch.wrap(np.negative, num_ubatches=3000, schedule="sequential") as wrapped:
        wrapped(np.arange(6100.0))
        report = wrapped.microbatch.report
    assert report is not None
    assert len(repr(report)) < 1500
    lines = str(report).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) < 300
    assert "3,000 parts of rows: 2 / 2 / 3 (least / median / most)" in str(report)
    assert re.findall("<th>(.*?)</th>", report._repr_html_())[:2] == ["step", "cut"]


def test_text_of_others_is_no_markup() -> None:
    report = StepReport(step=0, num_tokens=1, num_requests=1, sizes=(1,), seconds=0.1, reason="<b>&")
    assert "<b>" not in report._repr_html_()
    assert "&lt;b&gt;&amp;" in report._repr_html_()


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_sizes_are_told_as_they_are(sizes: list[int]) -> None:
    told = sizes_told(sizes)
    if "least" in told:
        least, _, most = re.findall(r"\d+", told)
        assert (int(least), int(most)) == (min(sizes), max(sizes))
    else:
        parts = [part.split(" x ") for part in told.split(", ")]
        assert [int(part[-1]) for part in parts for _ in range(int(part[0]) if part[1:] else 1)] == sizes


def test_all_fields_are_in_the_line() -> None:
    report = StepReport(step=0, num_tokens=1, num_requests=1, sizes=(1,), seconds=0.1)
    assert all(f"{field.name}=" in repr(report) for field in dataclasses.fields(report))
