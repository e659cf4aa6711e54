"""The logger tells of retries, refused cuts and lost time, to who listens, and nothing by itself."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import StepReport
from microbatch.step.log import lost_seconds, remarkable

X = np.arange(64.0).reshape(32, 2)


@pytest.mark.counted
def test_retries(caplog: pytest.LogCaptureFixture) -> None:
    def small(x: Any) -> Any:
        if len(x) > 4:
            raise MemoryError("too much")
        return x + 1

    with caplog.at_level(logging.INFO, "microbatch"), microbatch.wrap(small, num_ubatches=2) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X + 1)
    assert any("memory ran out in parts of" in text and "ran again" in text for text in caplog.messages)
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_refused_cuts(caplog: pytest.LogCaptureFixture) -> None:
    def centred(x: Any) -> Any:
        return x - x.mean(0)

    x = np.arange(float(1 << 19)).reshape(-1, 4)
    with caplog.at_level(logging.INFO, "microbatch"), microbatch.wrap(centred) as wrapped:
        with pytest.warns(UserWarning, match="runs whole"):
            wrapped(x)
        wrapped(x)
    assert [text for text in caplog.messages if "not cut: " in text and "it ran whole" in text]


def test_lost_time() -> None:
    """Threads that wait for the slowest part lose its time."""
    report = StepReport(
        step=0,
        num_tokens=4,
        num_requests=4,
        sizes=(2, 2),
        seconds=1.0,
        ubatch_seconds=(0.9, 0.1),
        schedule="parallel",
        workers=2,
    )
    assert lost_seconds(report) == pytest.approx(1.0)
    (text,) = remarkable(report)
    assert text.startswith("1 s lost: for 50% of the time of 2 threads no part ran (2 parts, parallel")


def test_a_clean_step_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "microbatch"), microbatch.wrap(np.negative) as wrapped:
        wrapped(X)
    assert caplog.messages == []


CODE = """
import numpy as np, microbatch, sys
def small(x):
    if len(x) > 4:
        raise MemoryError("too much")
    return x + 1
with microbatch.wrap(small, num_ubatches=2, verify="never") as wrapped:
    wrapped(np.arange(32.0))
    assert wrapped.microbatch.report.oom_sizes
"""


def test_nothing_is_told_by_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("", "")
