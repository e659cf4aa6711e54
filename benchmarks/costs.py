"""What microbatch itself costs: an unsplit call, a ubatch, and the import."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Any

import numpy as np

import microbatch
from benchmarks.table import Row
from benchmarks.timing import microseconds


def rows() -> list[Row]:
    """The three costs."""
    return [unsplit_call(), sequential_ubatches(), import_time()]


def _added(work: str, against: str, at_most: float, added: float, unit: str, **details: Any) -> Row:
    return Row(
        work=work,
        against=against,
        aim=f"<= +{at_most:g} {unit}",
        measured=f"{added:+.1f} {unit}",
        reached=added <= at_most,
        details=details,
    )


def unsplit_call() -> Row:
    """A wrapped call that is not split, beyond the plain call."""
    x = np.ones((8, 4), np.float32)

    def plain(rows: Any) -> Any:
        return rows + 1

    wrapped = microbatch.wrap(plain)
    for _ in range(20):
        wrapped(x)
    added = [microseconds(lambda: wrapped(x)) - microseconds(lambda: plain(x)) for _ in range(3)]
    report = wrapped.last_report
    assert report is not None and not report.split
    return _added("a wrapped call that is not split", "the plain call", 15, statistics.median(added), "µs")


def sequential_ubatches() -> Row:
    """64 ubatches of a trivial function, against the hand loop that writes into a preallocated result."""
    x = np.ones((64 * 16, 8), np.float32)
    slices = [slice(start, start + 16) for start in range(0, len(x), 16)]

    def trivial(rows: Any) -> Any:
        return rows + 1

    def hand_loop() -> Any:
        result = np.empty_like(x)
        for piece in slices:
            result[piece] = trivial(x[piece])
        return result

    wrapped = microbatch.wrap(trivial, schedule="sequential", policy="fixed", num_ubatches=64)
    assert np.array_equal(wrapped(x), hand_loop())
    added = [
        (microseconds(lambda: wrapped(x), number=100) - microseconds(hand_loop, number=100)) / 64
        for _ in range(3)
    ]
    return _added("64 trivial ubatches, sequential", "the hand loop", 10, statistics.median(added), "µs each")


def import_time() -> Row:
    """`import microbatch` beyond `import numpy`, in fresh processes taking turns."""
    runs: dict[str, list[float]] = {"numpy": [], "numpy, microbatch; microbatch.wrap": []}
    for _ in range(9):
        for statement, seconds in runs.items():
            seconds.append(_import_seconds(statement))
    medians = [statistics.median(seconds) for seconds in runs.values()]
    loaded = _loaded()
    row = _added(
        "import microbatch",
        "import numpy",
        80,
        (medians[1] - medians[0]) * 1e3,
        "ms",
        frameworks=loaded or "none",
    )
    return row if not loaded else Row(**{**{k: getattr(row, k) for k in row.__slots__}, "reached": False})


def _import_seconds(statement: str) -> float:
    code = f"import time; t = time.perf_counter(); import {statement}; print(time.perf_counter() - t)"
    return float(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    )


def _loaded() -> str:
    code = (
        "import sys, microbatch; microbatch.wrap; print(*[m for m in ('torch', 'cupy') if m in sys.modules])"
    )
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
