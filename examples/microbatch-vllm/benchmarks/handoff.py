"""The time of one hand-off on vLLM's real files: its own against ours, in one run, `python handoff.py`.

A yield is a hand-off. The time of one is the difference between steps of MANY yields and steps of none, so
threads, barrier and merging do not count. Variants take turns; medians and least of ROUNDS. Needs the files
that `tests/fetch.py` takes out of the wheel, and VLLM_FILES.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from microbatch_vllm import register
from real_files import RealRunner, loaded, missing

MANY = 300
"""Yields of each ubatch, from which the time of one hand-off is taken."""
LAYERS = 58
"""Yields of a step as long as a real one: the mixture-of-experts layers of DeepSeek-V3."""
ROUNDS = 41
PARTIES = (2, 3)
"""Ubatches of a step."""


def step_of(modules: Any, parties: int) -> Callable[[int], float]:
    """Seconds of one step, as a function of its yields."""
    runner = RealRunner(modules, parties)

    def step(yields: int) -> float:
        def body() -> int:
            for _ in range(yields):
                modules.ubatching.dbo_yield()
            return 0

        began = time.perf_counter()
        runner.second_runner([body] * parties)
        return time.perf_counter() - began

    return step


def measure(parties: int) -> dict[tuple[str, int], list[float]]:
    """(variant, yields) to the microseconds of each step."""
    with ExitStack() as stack:
        steps: dict[str, Callable[[int], float]] = {}
        for name, prepare in (("upstream", lambda: None), ("plugin", register)):
            modules = stack.enter_context(loaded())
            prepare()
            steps[name] = step_of(modules, parties)
        keys = [(name, yields) for name in steps for yields in (0, LAYERS, MANY)]
        taken: dict[tuple[str, int], list[float]] = {key: [] for key in keys}
        for _ in range(ROUNDS):
            for (name, yields), times in taken.items():
                times.append(steps[name](yields) * 1e6)
    return taken


def main() -> None:
    """Print the table."""
    if reason := missing():
        sys.exit(reason)
    print("| ubatches | | vLLM 0.33.0 | with microbatch-vllm | ratio |\n|---|---|---|---|---|")
    for parties in PARTIES:
        taken = measure(parties)
        for which, choose in (("median", statistics.median), ("least", min)):
            of = {key: choose(times) for key, times in taken.items()}
            one = {name: (of[name, MANY] - of[name, 0]) / (MANY * parties) for name in ("upstream", "plugin")}
            show(parties, f"one hand-off, {which}", one["upstream"], one["plugin"])
            show(parties, f"a step of {LAYERS} yields, {which}", of["upstream", LAYERS], of["plugin", LAYERS])
            show(parties, f"an empty step, {which}", of["upstream", 0], of["plugin", 0])


def show(parties: int, what: str, theirs: float, ours: float) -> None:
    """Print a row; times in microseconds."""
    print(f"| {parties} | {what} | {theirs:.1f} µs | {ours:.1f} µs | {theirs / ours:.1f}x |")


if __name__ == "__main__":
    main()
