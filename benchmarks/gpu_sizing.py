"""Static size search with real failures: limits drawn, a real allocator, and steps of wrapped functions.

Invariant: what counts as a failure is an attempt that the allocator refused. What fits is found by trying:
the most rows that run alone under the same limit, by halving an interval. As in `sizing_runs`, sizes are
compared by the calls that a batch takes, against the fewest that would fit.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

import microbatch
from benchmarks.gpu_scale import Scale
from benchmarks.sizing_runs import PATIENCE, STEPS
from benchmarks.table import Row

__all__ = ["Counted", "largest", "searches"]

OPTIONS = {"backend": "torch-cuda", "schedule": "sequential", "policy": "memory-model", "verify": "never"}


class Counted:
    """A function that needs `times` its input for a moment, and counts its calls and what the allocator
    refused."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = self.failures = 0

    def __call__(self, x: Any) -> Any:
        """[rows, width] -> [rows]."""
        try:
            result = x.repeat(1, self.times).amax(1)
        except torch.OutOfMemoryError:
            self.failures += 1
            raise
        self.calls += 1
        return result


def searches(scale: Scale) -> list[Row]:
    """Sizes found under drawn limits, by functions that need 2 to 32 times their input."""
    drawn = np.random.default_rng(1)
    most = np.log2(scale.most_rows)
    found = [
        _one(scale, rows=float(2 ** drawn.uniform(most / 3, most)), times=int(2 ** drawn.uniform(1, 5)))
        for _ in range(scale.limits)
    ]
    failures = statistics.fmean(refused for refused, _ in found)
    used = statistics.fmean(share for _, share in found)
    return [Row(work=f"find the size, {scale.limits} limits of up to {scale.most_rows} rows",
                against="the most rows that fit", aim="<= 0.5 failures at >= 0.93",
                measured=f"{failures:.1f} failures at {used:.2f}", reached=failures <= 0.5 and used >= 0.93,
                details={"failures": [refused for refused, _ in found],
                         "utilisation": [round(share, 2) for _, share in found]})]  # fmt: skip


def _one(scale: Scale, *, rows: float, times: int) -> tuple[int, float]:
    """(attempts that failed, utilisation) under a limit that lets about so many rows run at a time."""
    batch = torch.zeros(2 * scale.most_rows, scale.row_bytes // (4 * times), device="cuda")
    with limited(int(rows * scale.row_bytes) + 4 * len(batch)):  # and the result
        fits = largest(Counted(times), batch)
        # torch's peak is the highest since the last reset, and what was tried just now had filled the memory
        torch.cuda.reset_peak_memory_stats()
        counted, least, same = Counted(times), len(batch), 0
        with microbatch.wrap(counted, **OPTIONS) as step:
            for _ in range(STEPS):
                calls, refused = counted.calls, counted.failures
                step(batch)
                calls = counted.calls - calls
                same = same + 1 if calls >= least else 0
                least = least if counted.failures > refused else min(least, calls)
                if same > PATIENCE:
                    break
    return counted.failures, -(-len(batch) // fits) / least


def largest(function: Any, batch: Any) -> int:
    """The most rows that run alone, at least 1."""
    low, high = 1, len(batch) + 1
    while high - low > 1:
        middle = (low + high) // 2
        torch.cuda.empty_cache()
        try:
            function(batch[:middle])
            low = middle
        except torch.OutOfMemoryError:
            high = middle
    torch.cuda.empty_cache()
    return low


@contextmanager
def limited(more: int) -> Iterator[None]:
    """The process may have `more` bytes of the device beyond what it has."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
