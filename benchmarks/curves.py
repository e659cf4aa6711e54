"""Speed against size as others recorded it, and how our search does on it.

The wrapper is real, its clock is not: a call with n rows lasts as long as the curve says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import microbatch
from microbatch.extend.chain import Chain
from microbatch.testing.given_plugins import GivenPolicy
from microbatch.turns.runtime import ThreadRuntime
from microbatch_policies.counts import Tokens
from microbatch_policies.speed.throughput import Throughput

Curve = Callable[[float], float]
"""Size to units per second."""
LARGEST = 4096
"""Most rows of a part."""
ROWS = 8192
"""Rows of the batch."""
STEPS = 11
"""Steps of a wrapper whose sizes follow the times."""
ALIKE = 10
"""Steps in a row with the same size after which the search has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledSize:
    """Where the search ended."""

    size: int
    """Chosen size."""
    best_size: int
    """The fastest of the sizes 1, 2, 4 ... 4096."""
    share: float
    """Speed at the chosen size against the fastest."""
    measured: int
    """Different sizes measured."""
    steps: int
    """Steps until settled."""


class SimulatedClock(ThreadRuntime):
    """Threads are real; time passes only where somebody moves `now`, in seconds."""

    now = 0.0

    def monotonic(self) -> float:
        """The simulated time."""
        return self.now


def _between(points: dict[float, float]) -> Curve:
    """Straight lines between recorded points over the logarithm of the size."""
    sizes, speeds = np.log2(np.array(sorted(points))), np.array([points[size] for size in sorted(points)])
    return lambda size: float(np.interp(np.log2(size), sizes, speeds))


CURVES: dict[str, Curve] = {
    "sockeye#940 (peaks at 48)": _between(
        {1: 12, 8: 80, 16: 118, 32: 152, 48: 165, 64: 158, 128: 110, 496: 34, 4096: 5}
    ),
    "llama.cpp#4712 (flat from 1024)": _between(
        {1: 2, 32: 33, 128: 66, 512: 90, 1024: 96, 2048: 100, 4096: 99.5}
    ),
    "fixed cost, t = 64 + n": lambda size: size / (64 + size),
    "cache at 256": lambda size: size / (8 + size) / (1 + max(0.0, np.log2(size / 256)) * 0.4),
    "small is best": lambda size: 1 / (1 + 0.1 * np.log2(size)),
}  # fmt: skip


def settle(curve: Curve, *, most_steps: int = 40, row_bytes: int = 1 << 14) -> SettledSize:
    """Run a function of this speed until `throughput` stays with one size, where all parts must be alike."""
    clock = SimulatedClock()

    def function(x: Any) -> Any:
        clock.now += len(x) / curve(len(x))
        return x[:, 0]

    policy = Chain([("tokens", Tokens(LARGEST)), ("throughput", Throughput())])
    x = np.broadcast_to(np.uint8(0), (ROWS, row_bytes))
    sizes: list[int] = []
    with microbatch.wrap(
        function,
        plugins=GivenPolicy(policy),
        policy="given",
        schedule="sequential",
        splitter="floor",
        runtime=clock,
    ) as step:
        while len(sizes) < most_steps and not (len(sizes) > ALIKE and len(set(sizes[-ALIKE:])) == 1):
            step(x)
            report = step.last_report
            assert report is not None
            sizes.append(max(report.sizes))
    best = max((1 << exponent for exponent in range(LARGEST.bit_length())), key=curve)
    return SettledSize(
        size=sizes[-1],
        best_size=best,
        share=curve(sizes[-1]) / curve(best),
        measured=len(set(sizes)),
        steps=next(at for at in range(len(sizes)) if len(set(sizes[at:])) == 1),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Paced:
    """How a wrapper does whose sizes follow the times of the parts."""

    first: float
    """Seconds of the first step against those of the best fixed size."""
    later: float
    """The same of ten steps after that, as their mean: they look at the sizes beside that one."""
    settled: float
    """The same of the last step."""


def follow_the_pace(curve: Curve, *, noise: float = 0.0, seed: int = 0) -> Paced:
    """Run a function of this speed; each part takes up to `noise` longer, and one in ten twice as long."""
    clock, drawn = SimulatedClock(), np.random.default_rng(seed)

    def function(x: Any) -> Any:
        late = 2.0 if noise and drawn.random() < 0.1 else 1 + noise * drawn.random()
        clock.now += late * len(x) / curve(len(x))
        return x[:, 0]

    x = np.broadcast_to(np.uint8(0), (ROWS, 1 << 14))
    with microbatch.wrap(
        function,
        plugins=GivenPolicy(Throughput()),
        policy="given",
        schedule="sequential",
        verify="never",
        runtime=clock,
    ) as step:
        seconds = []
        for _ in range(STEPS):
            before = clock.now
            step(x)
            seconds.append(clock.now - before)
    sizes = [1 << exponent for exponent in range(LARGEST.bit_length())]
    best = min(ROWS / curve(size) for size in sizes) * (1 + 0.9 * noise / 2 + (0.1 if noise else 0))
    return Paced(
        first=seconds[0] / best,
        later=sum(seconds[1:]) / (STEPS - 1) / best,
        settled=min(seconds[-2:]) / best,  # one of them may compare another size, never both
    )
