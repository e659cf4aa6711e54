"""`microbatch.tune`: what it calls the function with, what it answers, and what it refuses before a call."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microbatch
from microbatch.errors import ArgumentTypeError, ArgumentValueError, LayoutError
from microbatch.tuning.report import TunePoint, TuneReport

X = np.random.default_rng(0).random((600, 3))


class Step:
    """A function that notes the rows of each call."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, x: Any, *, scale: int = 1) -> Any:
        self.calls.append(len(x))
        return x * scale


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(1, 300), sizes=st.sets(st.integers(1, 400), min_size=1, max_size=3))
def test_each_size_is_measured_once_and_never_above_the_batch(rows: int, sizes: set[int]) -> None:
    step = Step()
    report = microbatch.tune(step, X[:rows], sizes=sizes)
    expected = sorted({min(size, rows) for size in sizes})
    assert [(point.size, point.rows) for point in report.points] == [(size, size) for size in expected]
    assert set(step.calls) == set(expected)
    assert report.chosen in expected
    assert report.unit == "rows"


def test_without_sizes_they_double_up_to_the_batch() -> None:
    report = microbatch.tune(Step(), X[:10])
    assert [point.size for point in report.points] == [1, 2, 4, 8, 10]


def test_keywords_go_to_the_function_and_wrappers_are_unwrapped() -> None:
    step = Step()
    with microbatch.wrap(step, num_ubatches=4, policy="fixed") as wrapped:
        report = microbatch.tune(wrapped, X, sizes=[64], scale=2)
        assert wrapped.last_report is None
    assert set(step.calls) == {64}
    assert isinstance(report, TuneReport)


def test_requests_of_several_tokens_are_counted_in_tokens() -> None:
    layout = microbatch.Layout(inputs={"starts": microbatch.query_start_loc()})
    seen: list[tuple[int, int]] = []

    def step(ids: Any, starts: Any) -> Any:
        seen.append((len(ids), int(starts[-1])))
        return ids

    report = microbatch.tune(step, np.arange(12), np.array([0, 3, 7, 12]), sizes=[4, 12], layout=layout)
    assert set(seen) == {(4, 4), (12, 12)}
    assert report.unit == "tokens"
    assert "tokens/s" in str(report)


def test_rows_with_lengths_are_counted_in_padded_units() -> None:
    layout = microbatch.Layout(
        inputs={"0": microbatch.tokens(trim=1)}, lengths=lambda args, kwargs: [1, 2, 3, 4]
    )
    report = microbatch.tune(lambda x: x, np.ones((4, 4)), layout=layout)
    assert report.unit == "cost"
    assert "size (padded units)" in str(report)


WIDE = """
import numpy as np, microbatch
def wide(x):
    return (x[:, :1] + np.zeros(20_000)).sum(1)
report = microbatch.tune(wide, np.ones((1024, 4)), memory_limit="32MiB")
print(report.points[0].peak_bytes is None, report.points[-1].size, report.budget_bytes, report.stopped)
"""


def test_a_memory_limit_ends_the_search_before_the_size_that_would_not_fit() -> None:
    """In a process of its own: memory that one has freed before hides what the parts need."""
    done = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, text=True, check=True)
    untold, largest, budget, stopped = done.stdout.split(maxsplit=3)
    if untold == "True":
        pytest.skip("this backend does not tell its peak")
    assert "may need" in stopped
    assert int(largest) <= 256
    assert int(budget) <= 32 << 20


def test_the_report_prints_as_a_table() -> None:
    fields: dict[str, Any] = {"seconds": 1.0, "predicted_bytes": None}
    points = (
        TunePoint(size=8, rows=8, rows_per_second=800.0, peak_bytes=1 << 20, **fields),
        TunePoint(size=1024, rows=1024, rows_per_second=2048.0, peak_bytes=3 << 20, **fields),
    )
    facts: dict[str, Any] = {"unit": "rows", "reason": "why", "stopped": "done", "budget_bytes": 1}
    assert str(TuneReport(points=points, chosen=1024, workers=3, **facts)).splitlines() == [
        "size (rows)  rows/s  peak memory",
        "          8     800      1.0 MiB",
        "      1,024   2,048      3.0 MiB  chosen",
        "",
        "why",
        "stopped: done",
        "measured as one of 3 workers runs a part; a step runs that many at the same time",
    ]


def test_a_report_is_a_frozen_record() -> None:
    report = microbatch.tune(Step(), X, sizes=[8])
    with pytest.raises(AttributeError):
        report.chosen = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"sizes": [0]}, ArgumentValueError, "sizes is 0"),
        ({"sizes": [True]}, ArgumentTypeError, "sizes is True"),
        ({"sizes": "64"}, ArgumentTypeError, r"sizes is '64' \(str\); give whole numbers"),
        ({"sizes": []}, ArgumentValueError, "sizes is empty"),
        ({"memory_limit": "much"}, ArgumentValueError, "memory_limit"),
    ],
)
def test_bad_options_are_found_before_a_call(
    options: dict[str, Any], kind: type[Exception], told: str
) -> None:
    step = Step()
    with pytest.raises(kind, match=told):
        microbatch.tune(step, X, **options)
    assert step.calls == []


def test_what_cannot_be_measured() -> None:
    with pytest.raises(ArgumentValueError, match="the batch has no rows"):
        microbatch.tune(Step(), X[:0])
    with pytest.raises(LayoutError, match="nothing to split"):
        microbatch.tune(len, "text")
    with pytest.raises(ArgumentTypeError, match="cannot be called"):
        microbatch.tune(3, X)  # type: ignore[arg-type]


def test_an_error_of_the_function_is_its_own() -> None:
    def fail(x: Any) -> Any:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="no such model"):
        microbatch.tune(fail, X)
