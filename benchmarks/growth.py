"""What a step costs as it grows: a hundred thousand ubatches, and 58 yields whose turns carry an engine's
global or whose ranks agree first. `python -m benchmarks growth`.

Costs per ubatch are those of a sequential step of a trivial function on 16 rows, so that nothing but the step
itself can grow. Yields stand between matrix products of 64 rows, as small as layers get.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import microbatch
from benchmarks.installed import missing, unless
from benchmarks.table import Row
from benchmarks.timing import interleave
from microbatch import dbo

ROWS = 16
"""Rows of a ubatch."""
COUNTS = (1_000, 10_000, 100_000)
WITHIN = 1.2
"""How much more a ubatch may cost among 100,000 than among 1,000."""
YIELDS = 58
"""Those of a step: the mixture-of-experts layers of DeepSeek-V3."""
MORE = 15.0
"""Per cent that a step of them may take longer."""
RANK_ROUNDS = 100


def table() -> Sequence[Row]:
    """All rows."""
    ranks = partial(unless, missing("torch"), f"{YIELDS} yields, ranks agree", "the same without", by_ranks)
    drivers = ("threads", *([] if missing("greenlet") else ["greenlets"]))
    return [many_ubatches(), many_ubatches(told=True), *map(ambient, drivers), *ranks()]


def many_ubatches(*, told: bool = False) -> Row:
    """Microseconds of one of 100,000, against those of one of 1,000; `told`: with `progress=`."""
    found = cost_by_count(COUNTS, told=told)
    few, many = found[COUNTS[0]], found[COUNTS[-1]]
    return Row(
        work=f"one of {COUNTS[-1]:,} trivial ubatches{', progress told' if told else ''}",
        against=f"one of {COUNTS[0]:,}",
        aim=f"<= {WITHIN:g}x",
        measured=f"{many / few:.2f}x",
        reached=many <= WITHIN * few,
        details={f"us of {count:,}": round(cost, 2) for count, cost in found.items()},
    )


def cost_by_count(counts: Sequence[int], *, told: bool = False, rounds: int = 5) -> dict[int, float]:
    """Count -> microseconds of one ubatch, the function included."""
    steps = {count: max(1, 10_000 // count) for count in counts}
    timed = interleave({str(count): _steps(count, steps[count], told) for count in counts}, rounds=rounds)
    return {count: timed[str(count)].median / (count * steps[count]) * 1e6 for count in counts}


def _steps(count: int, steps: int, told: bool) -> Callable[[], Any]:
    """So many steps one after another, as a single one of few ubatches is too short for a clock."""
    x = np.ones((count * ROWS, 8), np.float32)
    options: dict[str, Any] = {"progress": lambda done, total: None} if told else {}
    wrapped = microbatch.wrap(
        lambda rows: rows + 1,
        schedule="sequential",
        policy="fixed",
        num_ubatches=count,
        max_ubatches=count,
        **options,
    )
    assert np.array_equal(wrapped(x), x + 1)
    assert wrapped.last_report is not None and wrapped.last_report.num_ubatches == count

    def run() -> Any:
        for _ in range(steps):
            wrapped(x)

    return run


def ambient(driver: str) -> Row:
    """Each turn enters and leaves a context that swaps a global."""
    x = np.random.default_rng(8).standard_normal((2 * 64, 64)).astype(np.float32)
    current: list[int] = [0]
    plain = _yielding(driver=driver)
    carried = _yielding(driver=driver, ambient=lambda _, ubatch: Swapped(current, ubatch))
    timed = interleave({"without": lambda: plain(x), "with": lambda: carried(x)}, rounds=101, same=_close)
    work = f"a step of {YIELDS} yields under `ambient`, {driver}"
    return _more(work, timed["without"].median, timed["with"].median)


class Swapped:
    """A context as cheap as they get: the global is one entry of a list."""

    __slots__ = ("_current", "_former", "_own")

    def __init__(self, current: list[int], own: int) -> None:
        self._current, self._own, self._former = current, own, own

    def __enter__(self) -> None:
        self._former, self._current[0] = self._current[0], self._own

    def __exit__(self, *_: object) -> None:
        self._current[0] = self._former


def _more(work: str, without: float, those: float) -> Row:
    added = (those / without - 1) * 100
    return Row(
        work=work,
        against="the same without",
        aim=f"<= +{MORE:g} %",
        measured=f"{added:+.1f} %",
        reached=added <= MORE,
        details={"without_us": round(without * 1e6), "with_us": round(those * 1e6)},
    )


def _yielding(**options: Any) -> microbatch.UBatchWrapper:
    """Two ubatches that take turns at 58 layers."""
    weights = np.eye(64, dtype=np.float32) * np.float32(0.99)

    def layers(x: Any) -> Any:
        for _ in range(YIELDS):
            x = x @ weights
            dbo.dbo_yield()
        return x

    return microbatch.wrap(layers, schedule="pingpong", num_ubatches=2, verify="never", **options)


def _close(got: Any, plain: Any) -> bool:
    return bool(np.allclose(got, plain, rtol=1e-5))


def by_ranks() -> Sequence[Row]:
    """The same step on two processes that agree before it, and on two that do not.

    Figures are the tenth part from below, as in `ranks.py`: the medians of two processes that wait for each
    other on shared cores are those of the scheduler.
    """
    from tests.support.gloo import GlooRanks

    with GlooRanks(2) as two:
        seconds = two.run(on_rank, limit=120.0)[0]
    low = {name: statistics.quantiles(values, n=10)[0] for name, values in seconds.items()}
    row = _more(f"a step of {YIELDS} yields, 2 ranks agree", low["without"], low["with"])
    return [replace(row, against="2 ranks that do not")]


def on_rank(rank: int) -> dict[str, list[float]]:
    """Seconds of both variants, in turns, each begun by both ranks together."""
    from torch import distributed

    x = np.random.default_rng(8).standard_normal((2 * 64, 64)).astype(np.float32)
    variants = {"without": _yielding(ranks="independent"), "with": _yielding(ranks="agree")}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(RANK_ROUNDS):
        for name, step in variants.items():
            distributed.barrier()
            started = time.perf_counter()
            step(x)
            seconds[name].append(time.perf_counter() - started)
    return {name: values[10:] for name, values in seconds.items()}


if __name__ == "__main__":
    from benchmarks.table import show

    show("What a step costs as it grows", table())
