"""Interleaved rounds: variants take turns within one process, and only ratios of medians are reported.

Invariant: each round runs every variant once, in an order that turns by one place a round, so that drift of
the machine falls on all of them; every result is compared with the plain one outside the timed part.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Variant = Callable[[], Any]
ROUNDS = "BENCHMARK_ROUNDS"
"""Environment variable: so many rounds in place of each table's own, to see quickly whether rows work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Seconds of one variant over all rounds."""

    name: str
    """Name of the variant."""
    seconds: tuple[float, ...]
    """One entry a round."""

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


def interleave(
    variants: Mapping[str, Variant], *, rounds: int = 7, same: Callable[[Any, Any], bool] | None = None
) -> dict[str, Timed]:
    """Time the variants in turns; `same(result, plain)` checks each result against the first variant's."""
    names, rounds = list(variants), int(os.environ.get(ROUNDS, rounds))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    plain = variants[names[0]]() if same is not None else None
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            gc.collect()
            started = time.perf_counter()
            result = variants[name]()
            seconds[name].append(time.perf_counter() - started)
            if same is not None and not same(result, plain):
                raise AssertionError(f"{name} differs from {names[0]}")
            del result
    return {name: Timed(name=name, seconds=tuple(values)) for name, values in seconds.items()}


def best_of(timed: Mapping[str, Timed], prefix: str) -> Timed:
    """The fastest variant whose name starts with `prefix`: the hand-written loop at its best size."""
    return min(
        (entry for name, entry in timed.items() if name.startswith(prefix)), key=lambda entry: entry.median
    )


def microseconds(function: Variant, *, number: int = 2000, rounds: int = 9) -> float:
    """Median microseconds of one call, over `rounds` loops of `number` calls."""
    loops = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(number):
            function()
        loops.append((time.perf_counter() - started) / number)
    return statistics.median(loops) * 1e6
