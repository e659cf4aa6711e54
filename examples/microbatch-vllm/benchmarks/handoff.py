"""The time of one hand-off on vLLM's real files: its own against ours, in one run, `python handoff.py`.

Two yields of a step are two hand-offs. The time of one is the difference between steps of MANY yields and
steps of none, so threads, barrier and merging do not count. Variants take turns; medians of ROUNDS. Needs the
files that `tests/fetch.py` takes out of the wheel, and MICROBATCH_VLLM_FILES.
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

MANY = 1000
"""Yields of each ubatch."""
ROUNDS = 9
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


def measure(parties: int) -> dict[str, tuple[float, float]]:
    """Variant to the microseconds of one hand-off and of an empty step."""
    steps: dict[str, Callable[[int], float]] = {}
    with ExitStack() as stack:
        for name, prepare in (("upstream", lambda: None), ("plugin", register)):
            modules = stack.enter_context(loaded())
            prepare()
            steps[name] = step_of(modules, parties)
        taken: dict[tuple[str, int], list[float]] = {
            (name, yields): [] for name in steps for yields in (0, MANY)
        }
        for _ in range(ROUNDS):
            for (name, yields), times in taken.items():
                times.append(steps[name](yields) * 1e6)
    middle = {key: statistics.median(times) for key, times in taken.items()}
    hand_offs = MANY * parties
    return {name: ((middle[name, MANY] - middle[name, 0]) / hand_offs, middle[name, 0]) for name in steps}


def main() -> None:
    """Print the table."""
    if reason := missing():
        sys.exit(reason)
    print("| ubatches | | vLLM 0.33.0 | with microbatch-vllm | ratio |\n|---|---|---|---|---|")
    for parties in PARTIES:
        found = measure(parties)
        for place, what in enumerate(("one hand-off", "an empty step")):
            theirs, ours = found["upstream"][place], found["plugin"][place]
            print(f"| {parties} | {what} | {theirs:.1f} µs | {ours:.1f} µs | {theirs / ours:.1f}x |")


if __name__ == "__main__":
    main()
