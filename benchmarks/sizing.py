"""The sizing table: our policies against the searches of other projects, on the same drawn limits and traces.

Simulated, so the figures are the same on every machine, except for what a call costs.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import curves
from benchmarks.replay import (
    Device,
    Outcome,
    capacities,
    changing,
    report,
    request,
    run_policy,
    run_search,
    run_sizer,
    run_trace,
)
from benchmarks.searches import CAP, SEARCHES, SIZERS
from benchmarks.table import Row, show
from microbatch.extend.records import MemoryReading
from microbatch_policies.auto import Auto
from microbatch_policies.memory.least_squares import LeastSquares
from microbatch_policies.memory.memory_model import MemoryModel

LIMITS = 400
"""Drawn limits per search."""
SEEDS = 50
"""Drawn traces."""
STARTS = (8, 14, 17, 20)
"""Bytes of a row as powers of two: they make the search start at 4096, 64, 8 and 1."""
DRAWS = 4000
"""Drawn models for the rate of bounds that are exceeded."""


def table() -> list[Row]:
    """All rows of the sizing table."""
    return [*static(), *dynamic(), false_bounds(), *throughput(), *cost()]


def static() -> list[Row]:
    """Limits from 1 to 1024 rows: attempts that fail, and how much of the limit the search ends with."""
    rows = [_searched(name, search) for name, search in SEARCHES.items()]
    for noise in (0.0, 0.02):
        outcomes = [
            run_policy(MemoryModel(), Device(np.random.default_rng(seed), capacity, noise))
            for seed, capacity in enumerate(capacities(np.random.default_rng(1), LIMITS))
        ]
        name = f"ours: memory-model, {noise:.0%} noise"
        rows.append(_row("find the size, limit 1..1024", name, outcomes, failures=0.5, least=0.93))
    return rows


def _searched(name: str, search: Callable[[], Any]) -> Row:
    outcomes = [
        run_search(search(), Device(np.random.default_rng(seed), capacity))
        for seed, capacity in enumerate(capacities(np.random.default_rng(1), LIMITS))
    ]
    return _row("find the size, limit 1..1024", name, outcomes)


def dynamic() -> list[Row]:
    """A limit that changes over 400 steps."""
    work = "400 steps, limit 512, 300, 512, jitter"
    rows = []
    for name, sizer in SIZERS.items():
        traces = [changing(np.random.default_rng(seed)) for seed in range(SEEDS)]
        rows.append(_row(work, name, [run_sizer(sizer(), trace) for trace in traces]))
    outcomes = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        trace = changing(np.random.default_rng(seed))
        outcomes.append(run_trace(MemoryModel(), Device(rng, trace[0]), trace, rng))
    return [*rows, _row(work, "ours: memory-model, reading with 2 % noise", outcomes, failures=2, least=0.92)]


def false_bounds() -> Row:
    """How often a peak exceeds the bound of 1 % risk, after 4 probes with 2 % noise."""
    rng = np.random.default_rng(5)
    exceeded = 0
    used = []
    for _ in range(DRAWS):
        device = Device(rng, float(2 ** rng.uniform(6, 10)), noise=0.02)
        model = LeastSquares(forgetting=1.0)
        for size in (1, 4, 16, 64):
            model.add(size, 1024, device.peak(size))
        size = model.fit(0.01).largest(device.limit, 1024, 1024)
        exceeded += size > 0 and device.peak(size) > device.limit
        used.append(size / device.capacity)
    rate = exceeded / DRAWS
    return Row(
        work="peaks above the 1 % bound, 4 probes, 2 % noise",
        against="nominal 1 %",
        aim="<= 1.2 %",
        measured=f"{rate:.2%}",
        reached=rate <= 0.012,
        details={"utilisation": f"{statistics.fmean(used):.2f}", "draws": DRAWS},
    )


def throughput() -> list[Row]:
    """Sizes measured until the choice, and its speed against the best of the curve; the worst of all starts."""
    rows = []
    for name, curve in curves.CURVES.items():
        tries = [curves.settle(curve, start_bytes=1 << bits) for bits in STARTS]
        found = min(tries, key=lambda found: found.share)
        rows.append(
            Row(
                work=f"fastest size: {name}",
                against=f"best is {found.best_size}",
                aim=">= 95 % in <= 8 sizes",
                measured=f"{found.share:.1%} in {max(one.measured for one in tries)} sizes",
                reached=found.share >= 0.95 and all(one.measured <= 8 for one in tries),
                details={"chosen": found.size, "steps": max(one.steps for one in tries)},
            )
        )
    return rows


def cost() -> list[Row]:
    """Time of asking and teaching the default policy in a step, once warm: bound by memory, and not."""
    return [
        _cost("bound by memory", capacity=300, aim=60),
        _cost("with room for the whole batch", capacity=1 << 20, aim=15),
    ]


def _cost(how: str, capacity: float, aim: int) -> Row:
    policy, device = Auto(), Device(np.random.default_rng(2), capacity, noise=0.01)
    limit = int(device.limit)
    asked = request(
        device, 0, memory=MemoryReading(capacity=limit, in_use=0, usable=limit, peak=0, pressure=0.0)
    )
    proposal = policy.propose(asked)
    for _ in range(200):
        size = min(proposal.limit or CAP, CAP)
        policy.observe(report(0, size, device.peak(size), failed=False))
        proposal = policy.propose(asked)
    reports = [report(0, size, device.peak(size), failed=False) for _ in range(400)]
    spent = []
    for done in reports:
        started = perf_counter()
        policy.propose(asked)
        policy.observe(done)
        spent.append(perf_counter() - started)
    microseconds = statistics.median(spent) * 1e6
    return Row(
        work=f"policy `auto` per step, warm, {how}",
        against="",
        aim=f"<= {aim} us",
        measured=f"{microseconds:.0f} us",
        reached=microseconds <= aim,
        details={"least": f"{min(spent) * 1e6:.0f} us"},
    )


def _row(
    work: str, name: str, outcomes: Sequence[Outcome], *, failures: float | None = None, least: float = 0.0
) -> Row:
    oom = statistics.fmean(outcome.failures for outcome in outcomes)
    used = statistics.fmean(outcome.utilisation for outcome in outcomes)
    low = statistics.quantiles([outcome.utilisation for outcome in outcomes], n=20)[0]
    return Row(
        work=work,
        against=name,
        aim="" if failures is None else f"<= {failures:g} failures at >= {least:.2f}",
        measured=f"{oom:.1f} failures at {used:.2f}",
        reached=failures is None or (oom <= failures and used >= least),
        details={
            "trials": f"{statistics.fmean(outcome.trials for outcome in outcomes):.1f}",
            "5th percentile": f"{low:.2f}",
        },
    )


if __name__ == "__main__":
    show("Sizing: against the searches in use elsewhere", table())
