"""The summary says what the report says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microbatch.extend.records import StepReport
from microbatch.files.npy_sink import NpySink
from microbatch.files.protocols import Block, Piece
from microbatch.files.sinks import new_file
from microbatch.jobs.summary import Summary, summarise


def summary(**fields: Any) -> Summary:
    """The summary of a report with these fields."""
    given = {"step": 0, "num_tokens": 90, "num_requests": 10, "sizes": (20, 30, 40), "seconds": 2.0} | fields
    with new_file(Path("y.npy")) as output:
        sink = NpySink(output)
        sink.out(0, 10)((10, 4), np.empty((1, 4), "f4"))
        sink.store(Block(start=0, rows=10, pieces=[Piece(start=0, rows=10, result=None)]))
        sink.finish(lambda: output).commit()
    report: Any = StepReport(**given)  # type: ignore[arg-type]
    return summarise([report], output, sink, peak_memory_bytes=3 << 20)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own for the output file."""
    monkeypatch.chdir(tmp_path)


def test_numbers() -> None:
    """Sizes, rate, and the share of padding: 10 avoided of 100 padded units."""
    made = summary(padding_avoided=10)
    assert (made.ubatches, made.size_min, made.size_median, made.size_max) == (3, 20, 30, 40)
    assert made.rows_per_second == 5
    assert made.padding_avoided == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "rows      10 in 2.00 s, 5 rows/s"),
        ({}, "cut       3 micro-batches"),
        ({"sizes": (90,)}, "cut       not cut, one call"),
        ({"reason": "best", "policy": "auto"}, "why       best (policy auto)"),
        ({"unit": "cost"}, "sizes     20 / 30 / 40 padded units (min / median / max)"),
        ({"padding_avoided": 10}, "padding   10% of the padded batch avoided"),
        ({"oom_sizes": (40, 20)}, "retries   2 parts ran out of memory and were repeated in smaller ones"),
        ({}, "memory    3 MiB at peak above the start of the step"),
        ({}, "output    y.npy: 10 x 4 float32, 288 bytes"),
    ],
)
def test_lines(fields: dict[str, Any], line: str) -> None:
    """Each fact has its line; those that say nothing are left out."""
    assert line in str(summary(**fields)).splitlines()


def test_lines_that_say_nothing_are_left_out() -> None:
    """An uncut step has no sizes, no padding and no retries."""
    words = [line.split()[0] for line in str(summary(sizes=(90,))).splitlines()]
    assert words == ["rows", "cut", "why", "ran", "memory", "output"]
