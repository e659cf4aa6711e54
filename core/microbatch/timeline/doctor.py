"""Asking of each function that was recorded what kept its ubatches from overlapping, or from gaining.

Invariant: every cause is asked of every function, in one order; what copying reaches here is measured once,
and only where a cause asks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from microbatch.timeline import causes, costs
from microbatch.timeline.bars import Bar, SeenStep
from microbatch.timeline.case import Case, Process
from microbatch.timeline.finding import Diagnosis, Finding

CAUSES: tuple[Callable[[Case], Finding | None], ...] = (
    causes.may_not_be_cut,
    causes.ran_whole,
    causes.no_turns,
    causes.blocking_collectives,
    causes.missing_yield,
    causes.device_wide_waits,
    causes.one_stream,
    causes.one_connection,
    costs.too_small,
    costs.interpreter_lock,
    costs.fresh_pages,
    costs.memory_bound,
)
"""In the order in which they are told."""
COPIED = 32 << 20
"""Bytes that are copied to see how fast that is: more than caches hold."""


def diagnose(bars: Sequence[Bar], steps: Sequence[SeenStep], process: Process) -> Diagnosis:
    """What is found of each function, by name."""
    names = list(dict.fromkeys(step.name for step in steps))
    found: list[Finding] = []
    for name in names:
        ours = [step for step in steps if step.name == name]
        numbers = {step.number for step in ours}
        case = Case(steps=ours, bars=[bar for bar in bars if bar.step in numbers], process=process)
        told = [finding for cause in CAUSES if (finding := cause(case)) is not None]
        found += [replace(finding, function=name) for finding in told] if len(names) > 1 else told
    return Diagnosis(findings=tuple(found))


def this_process(environment: Mapping[str, str], clock: Callable[[], float]) -> Process:
    """What is known of this one."""
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    rate = cache(lambda: _copy_rate(clock))
    return Process(
        environment=environment, locked=locked, switch_interval=sys.getswitchinterval(), copy_rate=rate
    )


def _copy_rate(clock: Callable[[], float]) -> float:
    """Bytes a second that one thread reads and writes, the best of five copies."""
    source, there = np.ones(COPIED, np.uint8), np.ones(COPIED, np.uint8)
    best = float("inf")
    for _ in range(5):
        start = clock()
        np.copyto(there, source)
        best = min(best, clock() - start)
    return 2 * COPIED / max(best, 1e-9)
