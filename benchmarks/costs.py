"""What microbatch itself costs: an unsplit call, a ubatch, and the import."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np

import microbatch
from benchmarks.table import Row
from benchmarks.timing import microseconds
from benchmarks.workloads import torch_chain

ROUNDS = 9
"""Fresh processes of each kind; their medians are compared."""


def rows() -> list[Row]:
    """The four costs."""
    return [unsplit_call(), sequential_ubatches(), showing_once(), import_time()]


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
    return _added("a wrapped call that is not split", "the plain call", 12, statistics.median(added), "µs")


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
    return _added("64 trivial ubatches, sequential", "the hand loop", 4, statistics.median(added), "µs each")


def showing_once() -> Row:
    """The three calls that show that a function may be cut, as before each step of `verify="always"`.

    They are on 12 rows however large the batch is, so a small one shows them best.
    """
    import torch

    x = torch.rand(48, 1024)
    options: dict[str, Any] = {"policy": "fixed", "num_ubatches": 2, "schedule": "sequential"}
    once, always = (microbatch.wrap(torch_chain, verify=when, **options) for when in ("first", "always"))
    for _ in range(20):
        assert torch.equal(once(x), always(x))
    added = [
        microseconds(lambda: always(x), number=50) - microseconds(lambda: once(x), number=50)
        for _ in range(3)
    ]
    work = "showing that 8 torch operations may be cut"
    return _added(work, "the first step alone", 1, statistics.median(added) / 1e3, "ms")


def import_time() -> Row:
    """The first `wrap` of a process beyond `import numpy`, in fresh processes taking turns."""
    plain, ours = "import numpy", "import microbatch; microbatch.wrap(lambda x: x)"
    seconds: dict[str, list[float]] = {plain: [], ours: []}
    loaded = ""
    for turn in range(ROUNDS + 1):
        for statement in (plain, ours):
            taken, loaded = _in_fresh_process(statement)
            if turn:  # the first one compiles, and keeps the bytecode for the others
                seconds[statement].append(taken)
    numpy_ms, ours_ms = (statistics.median(seconds[statement]) * 1e3 for statement in (plain, ours))
    details = {"numpy_ms": round(numpy_ms, 1), "ours_ms": round(ours_ms, 1), "frameworks": loaded or "none"}
    row = _added(
        "import microbatch and the first wrap", "import numpy", 60, ours_ms - numpy_ms, "ms", **details
    )
    return replace(row, reached=False) if loaded else row


def _in_fresh_process(statement: str) -> tuple[float, str]:
    """Seconds that `statement` takes where bytecode is kept, and the frameworks that it loads."""
    code = (
        f"import sys, time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t, "
        "*[name for name in ('torch', 'cupy') if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    seconds, _, loaded = done.stdout.strip().partition(" ")
    return float(seconds), loaded
