"""How much two cores of this machine are worth: the bound for whatever runs side by side on them.

Two virtual cores may be two threads of one physical core; then two processes that share nothing get 1.3 times
the work of one done, not 2, and no schedule of ours can do better.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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


PACKAGES = ("numpy", "torch", "transformers", "jax", "numba", "numexpr", "greenlet")


def facts() -> dict[str, str]:
    """What figures depend on, and how busy the machine was just now."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "load of the last minute": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    """Its name and its cache, as Linux tells them."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    told = {name.strip(): value.strip() for name, _, value in lines}
    return f"{told.get('model name', platform.machine())}, {told.get('cache size', 'unknown')} of cache"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _seconds(processes: int) -> float:
    """Seconds of the slowest of so many at the same time."""
    command = [sys.executable, "-c", CODE]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return max(float(process.communicate()[0]) for process in running)
