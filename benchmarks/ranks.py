"""What it costs that ranks agree before a step: against a bare all-reduce of gloo, and outside of a group.

Invariant: both ranks run the same rounds, variants in turns. A step of one row is not cut, so what is
measured is the agreement and nothing of the parts. Figures are the tenth part from below: the medians of two
processes that wait for each other on shared cores are those of the scheduler (six times as much was seen).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import microbatch
from benchmarks.table import Row
from microbatch_backends.host.backend import CpuBackend
from tests.support.gloo import GlooRanks

ROUNDS = 300


def rows() -> list[Row]:
    """Both figures."""
    with GlooRanks(2) as two:
        figures = two.run(measure)[0]
    agreed = figures["agree"] - figures["independent"]
    ratio, outside = agreed / figures["bare"], nanoseconds_outside()
    return [
        Row(
            work="ranks agree before a step, 2 processes", against="a bare all-reduce of gloo", aim="<= 2x",
            measured=f"{ratio:.1f}x ({agreed:.0f} µs)", reached=ratio <= 2, details=figures,
        ),
        Row(
            work="asking whether there are ranks, outside of a group", against="nothing", aim="<= +300 ns",
            measured=f"{outside:+.0f} ns", reached=outside <= 300,
        ),
    ]  # fmt: skip


def measure(rank: int) -> dict[str, float]:
    """Microseconds of each variant on one rank."""
    import torch
    from torch import distributed

    numbers, x = torch.zeros(9, dtype=torch.int64), np.zeros((1, 4))
    variants: dict[str, Callable[[], Any]] = {"bare": lambda: distributed.all_reduce(numbers)}
    for ranks in ("agree", "independent"):
        wrapped = microbatch.wrap(lambda x: x, ranks=ranks)
        variants[ranks] = lambda wrapped=wrapped: wrapped(x)
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, call in variants.items():
            distributed.barrier()  # else a variant pays for the other rank's lag in the one before
            started = time.perf_counter()
            call()
            taken[name].append((time.perf_counter() - started) * 1e6)
    return {name: round(statistics.quantiles(values, n=10)[0], 1) for name, values in taken.items()}


def nanoseconds_outside() -> float:
    """What a step pays where this process is no rank."""
    ranks, calls = CpuBackend().ranks, 100_000
    times = []
    for _ in range(7):
        started = time.perf_counter()
        for _ in range(calls):
            ranks(None)
        times.append((time.perf_counter() - started) / calls * 1e9)
    return min(times)
