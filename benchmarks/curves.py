"""Speed against size as others recorded it, and how our search does on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from microbatch.extend.records import SizingRequest, StepReport
from microbatch_policies.speed.throughput import Throughput

Curve = Callable[[float], float]
"""Size to units per second."""
LARGEST = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
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


def _between(points: dict[float, float]) -> Curve:
    """Straight lines between recorded points over the logarithm of the size."""
    sizes, speeds = np.log2(np.array(sorted(points))), np.array([points[size] for size in sorted(points)])
    return lambda size: float(np.interp(np.log2(size), sizes, speeds))


CURVES: dict[str, Curve] = {
    "sockeye#940 (peaks at 48)": _between({1: 12, 8: 80, 16: 118, 32: 152, 48: 165, 64: 158, 128: 110, 496: 34, 4096: 5}),
    "llama.cpp#4712 (flat from 1024)": _between({1: 2, 32: 33, 128: 66, 512: 90, 1024: 96, 2048: 100, 4096: 99.5}),
    "fixed cost, t = 64 + n": lambda size: size / (64 + size),
    "cache at 256": lambda size: size / (8 + size) / (1 + max(0.0, np.log2(size / 256)) * 0.4),
    "small is best": lambda size: 1 / (1 + 0.1 * np.log2(size)),
}  # fmt: skip


def settle(curve: Curve, *, steps: int = 40, start_bytes: int = 1 << 14) -> Found:
    """Run `throughput` on the curve until it proposes the same size for good."""
    policy, units = Throughput(), 8192
    sizes: list[int] = []
    for step in range(steps):
        asked = SizingRequest(
            num_tokens=units,
            num_requests=units,
            bytes_per_unit=start_bytes,
            largest_bytes_per_unit=start_bytes,
            signature="curve",
            limit=LARGEST,
            step=step,
        )
        size = policy.propose(asked).limit or units
        sizes.append(size)
        policy.observe(
            StepReport(
                step=step,
                num_tokens=units,
                num_requests=units,
                sizes=(size,) * -(-units // size),
                seconds=units / curve(size),
                signature="curve",
                limit=size,
            )
        )
    grid = [1 << exponent for exponent in range(LARGEST.bit_length())]
    best = max(grid, key=curve)
    settled = next(at for at in range(len(sizes)) if len(set(sizes[at:])) == 1)
    return Found(
        size=sizes[-1],
        best_size=best,
        share=curve(sizes[-1]) / curve(best),
        measured=len(set(sizes)),
        steps=settled,
    )
