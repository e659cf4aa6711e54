"""What taking turns costs, against a ring of events whose threads are started for every step.

The ring is written from the description of vLLM's ubatching: one `threading.Event` a ubatch, a barrier at the
start, N new threads a step, the next event set and the own one waited for and cleared at every yield. Each
placement is measured in a process of its own, since threads inherit where they may run. Variants take turns;
at its turn each runs a few steps one after another, as a server does. The first of them pays for the caches
that the other variants filled: it is printed as a row of its own, where both sides pay it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from benchmarks.table import Row, show
from microbatch import dbo
from microbatch.schedules import pingpong
from microbatch.schedules.step import Step
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.taking_turns import make_step

ROUNDS = 41
STEPS = 5
"""Steps in a row at each turn, after the first."""
LAYERS = 58
"""Yields of a step: the mixture-of-experts layers of DeepSeek-V3."""
MANY = 500
"""Yields from which the cost of one hand-off is taken, as the difference to an empty step."""


def event_ring(yields: int, parties: int = 2) -> None:
    """One step of the baseline."""
    events = [threading.Event() for _ in range(parties)]
    start = threading.Barrier(parties + 1)

    def body(index: int) -> None:
        mine, following = events[index], events[(index + 1) % parties]
        start.wait()
        mine.wait()
        mine.clear()
        for _ in range(yields):
            following.set()
            mine.wait()
            mine.clear()
        following.set()

    threads = [threading.Thread(target=body, args=(index,)) for index in range(parties)]
    for thread in threads:
        thread.start()
    start.wait()
    events[0].set()
    for thread in threads:
        thread.join()


def our_step(driver: str) -> Callable[[int], None]:
    """One step of ours, as a function of the yields; contexts are new for each step, as a wrapper makes
    them."""
    runtime = ThreadRuntime()
    template = make_step(runtime, WorkerPool(runtime), 2, None, driver=driver)
    slices = [context.slice_info for context in template.contexts]

    def step(yields: int) -> None:
        def compute(context: Any, _: Any) -> None:
            for _ in range(yields):
                dbo.dbo_yield()

        fresh = [UBatchContext(piece, index, 2, runtime) for index, piece in enumerate(slices)]
        pingpong.run(
            Step(
                contexts=fresh,
                load=template.load,
                compute=compute,
                store=template.store,
                device=template.device,
                config=template.config,
                runtime=runtime,
                workers=template.workers,
            )
        )

    return step


def measure() -> dict[str, float]:
    """Microseconds of each figure in this process, medians of interleaved rounds."""
    variants: dict[str, Callable[[int], None]] = {"events": event_ring, "threads": our_step("threads")}
    if find_spec("greenlet"):
        variants["greenlets"] = our_step("greenlets")
    keys = [(name, yields) for name in variants for yields in (0, LAYERS, MANY)]
    first: dict[tuple[str, int], list[float]] = {key: [] for key in keys}
    later: dict[tuple[str, int], list[float]] = {key: [] for key in keys}
    for _ in range(ROUNDS):
        for key in keys:
            first[key] += timed(variants[key[0]], key[1], 1)
            later[key] += timed(variants[key[0]], key[1], STEPS)
    median = {key: statistics.median(values) for key, values in later.items()}
    figures = {}
    for name in variants:
        figures[f"{name} empty"] = median[name, 0]
        figures[f"{name} first"] = statistics.median(first[name, 0])
        figures[f"{name} step"] = median[name, LAYERS]
        figures[f"{name} hand-off"] = (median[name, MANY] - median[name, 0]) / (2 * MANY)
    return figures | {"outside": outside_a_step()}


def timed(step: Callable[[int], None], yields: int, steps: int) -> list[float]:
    """Microseconds of each of `steps` steps in a row."""
    taken = []
    for _ in range(steps):
        started = time.perf_counter()
        step(yields)
        taken.append((time.perf_counter() - started) * 1e6)
    return taken


def outside_a_step() -> float:
    """Nanoseconds that a yield point outside any step costs beyond a call of an empty function."""

    def plain(label: str = "") -> None:
        return None

    def loop(function: Callable[[], None]) -> float:
        started = time.perf_counter()
        for _ in range(100_000):
            function()
        return (time.perf_counter() - started) * 1e4

    pairs = [(loop(dbo.dbo_yield), loop(plain)) for _ in range(15)]
    return statistics.median(ours - theirs for ours, theirs in pairs)


def table() -> list[Row]:
    """Every figure, with threads kept on one core and where the system puts them."""
    rows = []
    for placement in ("one core", "unpinned"):
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.handoff", "--measure", placement],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        rows += rows_of(placement, json.loads(child.stdout))
    return rows + rows_of_ranks()


def rows_of_ranks() -> list[Row]:
    """What it costs that several ranks agree; nothing without torch."""
    if not find_spec("torch"):
        return []
    from benchmarks import ranks

    return ranks.rows()


def rows_of(placement: str, figures: dict[str, float]) -> list[Row]:
    """The comparisons of one placement."""
    hand_off, rows = 2.2 if placement == "one core" else 4.0, []
    aims = {"threads": (hand_off, 3.0, 4.0, 1.0), "greenlets": (30.0, 8.0, 4.0, 1.0)}
    for driver, factors in aims.items():
        if f"{driver} step" not in figures:
            continue
        for what, at_least in zip(NAMES, factors, strict=True):
            rows.append(compared(f"{NAMES[what]}, {driver}, {placement}", at_least, figures, driver, what))
    extra = figures["outside"]
    outside = Row(
        work=f"yield point outside a step, {placement}", against="a plain call", aim="<= +60 ns",
        measured=f"{extra:+.0f} ns", reached=extra <= 60,
    )  # fmt: skip
    return [*rows, outside]


NAMES = {
    "hand-off": "one hand-off",
    "step": f"step of {LAYERS} yields",
    "empty": "empty step",
    "first": "empty step, the first after other work",
}


def compared(work: str, at_least: float, figures: dict[str, float], driver: str, what: str) -> Row:
    """Ours against the ring of events in the same process."""
    base, ours = figures[f"events {what}"], figures[f"{driver} {what}"]
    return Row(
        work=work, against="event ring", aim=f">= {at_least:g}x", measured=f"{base / ours:.1f}x",
        reached=base / ours >= at_least, details={"events_us": round(base, 2), "ours_us": round(ours, 2)},
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        if sys.argv[2] == "one core":
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(json.dumps(measure()))
    else:
        show("Hand-off: against a ring of events with threads per step", table())
