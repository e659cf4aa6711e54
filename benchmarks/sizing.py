"""The sizing table: wrapped functions and the searches of other projects on the same limits and traces.

Ours are steps of real wrappers: planner, policy and recovery are those that users get. Memory and time are
simulated, so the figures are the same on every machine, except for what a call costs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np

from benchmarks import curves
from benchmarks.limited_memory import LimitedDevice, LimitedMemory, capacities, changing
from benchmarks.searches import SEARCHES, SIZERS
from benchmarks.sizing_runs import Outcome, batch, follow, run_search, run_sizer, search, wrapped
from benchmarks.table import Row, show
from microbatch.extend.records import Proposal, SizingRequest, StepReport
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
    """Limits from 1 to 1024 rows: attempts that fail, and how much of the limit the search ends with.

    With noise every call draws its own need, and a step has hundreds of calls: whoever knew slope, noise and
    limit would reach 0.93 with 0.4 failures in four steps, and 0.91 with 0.1. So the aim of 0.93 with half a
    failure is the best there is; `memory-model` takes less risk and does not reach it.
    """
    work = "find the size, limit 1..1024"
    rows = [
        _row(work, name, [run_search(one(), memory) for memory in _memories()])
        for name, one in SEARCHES.items()
    ]
    for noise, least in ((0.0, 0.95), (0.02, 0.93)):
        outcomes = [search(MemoryModel(), memory) for memory in _memories(noise)]
        rows.append(_row(work, f"ours: memory-model, {noise:.0%} noise", outcomes, failures=0.5, least=least))
    return rows


def _memories(noise: float = 0.0) -> Iterator[LimitedMemory]:
    for seed, capacity in enumerate(capacities(np.random.default_rng(1), LIMITS)):
        yield LimitedMemory(np.random.default_rng(seed), capacity, noise)


def dynamic() -> list[Row]:
    """A limit that changes over 400 steps."""
    work = "400 steps, limit 512, 300, 512, jitter"
    traces = [changing(np.random.default_rng(seed)) for seed in range(SEEDS)]
    rows = [_row(work, name, [run_sizer(one(), trace) for trace in traces]) for name, one in SIZERS.items()]
    outcomes = [
        follow(MemoryModel(), LimitedMemory(np.random.default_rng(seed), trace[0]), trace)
        for seed, trace in enumerate(traces)
    ]
    return [*rows, _row(work, "ours: memory-model, reading with 2 % noise", outcomes, failures=2, least=0.92)]


def false_bounds() -> Row:
    """How often a peak exceeds the bound of 1 % risk, after 4 probes with 2 % noise."""
    rng = np.random.default_rng(5)
    exceeded = 0
    used = []
    for _ in range(DRAWS):
        memory = LimitedMemory(rng, float(2 ** rng.uniform(6, 10)), noise=0.02)
        model = LeastSquares(forgetting=1.0)
        for size in (1, 4, 16, 64):
            model.add(size, 1024, memory.need(size))
        size = model.fit(0.01).largest(memory.limit, 1024, 1024)
        exceeded += size > 0 and memory.need(size) > memory.limit
        used.append(size / memory.capacity)
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
    """Sizes measured until the choice, and its speed against the best; the worst of all starts."""
    rows = []
    for name, curve in curves.CURVES.items():
        tries = [curves.settle(curve, row_bytes=1 << bits) for bits in STARTS]
        found = min(tries, key=lambda one: one.share)
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


class _Asked(Auto):
    """Keeps the last request and report of real steps."""

    request: SizingRequest
    report: StepReport

    def propose(self, request: SizingRequest) -> Proposal:
        self.request = request
        return super().propose(request)

    def observe(self, report: StepReport) -> None:
        self.report = report
        super().observe(report)


def _cost(how: str, capacity: float, aim: int) -> Row:
    policy, memory = _Asked(), LimitedMemory(np.random.default_rng(2), capacity, noise=0.01)
    x = batch(memory, 1024)
    with wrapped(policy, memory, LimitedDevice(memory)) as step:
        for _ in range(200):
            step(x)
    asked, done, spent = policy.request, policy.report, []
    for _ in range(400):
        started = perf_counter()
        Auto.propose(policy, asked)
        Auto.observe(policy, done)
        spent.append(perf_counter() - started)
    microseconds = statistics.median(spent) * 1e6
    return Row(
        work=f"policy `auto` per step, warm, {how}",
        against="",
        aim=f"<= {aim} us",
        measured=f"{microseconds:.0f} us",
        reached=microseconds <= aim,
        details={"least": f"{min(spent) * 1e6:.1f} us"},
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
