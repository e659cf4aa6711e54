"""Wrapped functions, and the searches of other projects, in the same simulated memories.

Invariant: every attempt that ran out of memory counts, and sizes are compared by what they do: the calls that
a batch takes, against the fewest that would fit. Cut evenly, 1,000 rows run in two calls whether 500 or 999
are allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import microbatch
from benchmarks.limited_memory import LimitedDevice, LimitedMemory
from benchmarks.searches import CAP, Search, Sizer
from microbatch.extend.protocols import SizingPolicy
from microbatch.testing.given_plugins import GivenPolicy

__all__ = ["Outcome", "follow", "run_search", "run_sizer", "search", "wrapped"]

SEARCHED_ROWS = 2 * CAP
"""Rows of the batch while a size is looked for: no limit lets it run whole."""
FOLLOWED_ROWS = 16 * CAP
"""The same while the limit changes: 17 parts or more, so that one too many shows as little."""
STEPS = 12
"""Most steps of our search."""
PATIENCE = 3
"""It ends earlier when so many steps in a row took no fewer calls: these are steps of work done, and each
makes the bound tighter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a search or a trace went."""

    trials: int
    """Sizes that were tried or steps that ran, and attempts that failed in them."""
    failures: int
    """Attempts that ran out of memory."""
    utilisation: float
    """The fewest calls that fit over the calls that were made, for a trace as the mean of its steps."""


def wrapped(policy: SizingPolicy, memory: LimitedMemory, device: LimitedDevice, **options: Any) -> Any:
    """A real wrapper in that memory; its function counts and draws, so it is not tried beforehand."""
    return microbatch.wrap(
        memory.call, plugins=GivenPolicy(policy, device), backend=device.name, policy="given",
        schedule="sequential", verify="never", **options,
    )  # fmt: skip


def search(policy: SizingPolicy, memory: LimitedMemory) -> Outcome:
    """Steps of a wrapper that is told its limit, until they take no fewer calls."""
    x, least, same, steps = batch(memory, SEARCHED_ROWS), SEARCHED_ROWS, 0, 0
    with wrapped(policy, memory, LimitedDevice(memory, told=True), memory_limit=int(memory.limit)) as step:
        while steps < STEPS and same <= PATIENCE:
            calls, failures = _counted(memory, lambda: step(x))
            same = same + 1 if calls >= least else 0
            least = least if failures else min(least, calls)
            steps += 1
    utilisation = _fewest(SEARCHED_ROWS, memory.capacity) / least
    return Outcome(trials=steps + memory.failures, failures=memory.failures, utilisation=utilisation)


def follow(policy: SizingPolicy, memory: LimitedMemory, trace: list[float]) -> Outcome:
    """One step of a wrapper per limit of `trace`; the memory is read with 2 % noise before each."""
    x, used = batch(memory, FOLLOWED_ROWS), 0.0
    with wrapped(policy, memory, LimitedDevice(memory, reading_noise=0.02)) as step:
        for memory.capacity in trace:
            calls, _ = _counted(memory, lambda: step(x))
            used += _fewest(FOLLOWED_ROWS, memory.capacity) / calls
    return Outcome(
        trials=len(trace) + memory.failures, failures=memory.failures, utilisation=used / len(trace)
    )


def run_search(search: Search, memory: LimitedMemory) -> Outcome:
    """Play one search of another project in `memory`."""
    trials = failures = 0
    try:
        size = next(search)
        while True:
            trials += 1
            ran = memory.need(size) <= memory.limit
            failures += not ran
            size = search.send(ran)
    except StopIteration as stop:
        utilisation = _share(SEARCHED_ROWS, stop.value, memory.capacity)
        return Outcome(trials=trials, failures=failures, utilisation=utilisation)


def run_sizer(sizer: Sizer, trace: list[float]) -> Outcome:
    """A rule of another project, which reads nothing, over the limits of `trace`."""
    used, trials, failures = 0.0, 0, 0
    for capacity in trace:
        size = sizer.next()
        while size > capacity and size > 1:
            failures, trials = failures + 1, trials + 1
            sizer.failed()
            size = sizer.next()
        sizer.ran()
        used, trials = used + _share(FOLLOWED_ROWS, size, capacity), trials + 1
    return Outcome(trials=trials, failures=failures, utilisation=used / len(trace))


def batch(memory: LimitedMemory, rows: int) -> Any:
    """An input of so many rows, [rows, bytes]."""
    return np.zeros((rows, memory.input_bytes), np.uint8)


def _counted(memory: LimitedMemory, step: Callable[[], object]) -> tuple[int, int]:
    """(calls that ran, attempts that failed) in one step."""
    calls, failures = memory.calls, memory.failures
    step()
    return memory.calls - calls, memory.failures - failures


def _fewest(rows: int, capacity: float) -> int:
    """Calls of the largest size that fits."""
    return -(-rows // int(capacity))


def _share(rows: int, size: int, capacity: float) -> float:
    return min(1.0, _fewest(rows, capacity) / -(-rows // max(1, size)))
