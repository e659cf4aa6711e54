"""A simulated memory with a limit, and a backend on which wrappers run in it: what `sizing` measures.

A call with n rows needs `fixed + slope * n` bytes, with relative noise of its own, and raises MemoryError
above the limit. Invariant: recovery, planner and policy are the real ones; only the memory is simulated. It
is read as a device's is: the reading has the highest mark so far, so a step that needs no more than an
earlier one shows no peak, and a call that failed had filled the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from microbatch.extend.records import MemoryReading
from microbatch_backends.host.backend import CpuBackend

__all__ = ["LimitedDevice", "LimitedMemory", "capacities", "changing"]


class LimitedMemory:
    """A memory in which calls with up to `capacity` rows fit (a real number: memory is not made of rows)."""

    def __init__(self, rng: np.random.Generator, capacity: float, noise: float = 0.0) -> None:
        self._rng, self._noise = rng, noise
        self.slope = float(rng.uniform(64, 512))
        self.fixed = self.slope * float(rng.uniform(0, 16))
        self.input_bytes = max(1, int(self.slope / 2 ** rng.uniform(0, 5)))
        self.capacity = capacity
        self.mark = 0.0
        self.calls = 0
        self.failures = 0

    @property
    def limit(self) -> float:
        """Bytes there are."""
        return self.fixed + self.slope * self.capacity

    def need(self, rows: int) -> float:
        """Bytes that a call with so many rows needs this time."""
        return (self.fixed + self.slope * rows) * (1 + self._noise * float(self._rng.standard_normal()))

    def call(self, x: Any) -> Any:
        """The function that is wrapped: [n, bytes] -> [n]; MemoryError where the rows do not fit.

        One row always fits, since no size is left to look for where it does not.
        """
        need = self.need(len(x))
        failed = len(x) > 1 and need > self.limit
        self.mark = max(self.mark, self.limit if failed else need)
        self.calls += not failed
        self.failures += failed
        if failed:
            raise MemoryError("the simulated memory is full")
        return x[:, 0]


class LimitedDevice(CpuBackend):
    """NumPy arrays on a device whose memory is `memory`; `reading_noise` is that of its readings, relative.

    Where `told` the device itself has twice the memory, and the limit is one that the user names.
    """

    name = "limited"
    parallel = False

    def __init__(self, memory: LimitedMemory, *, reading_noise: float = 0.0, told: bool = False) -> None:
        super().__init__()
        self._limited = memory
        self._noise = reading_noise
        self._times = 2 if told else 1
        self._rng = np.random.default_rng(0)

    def memory(self) -> MemoryReading:
        """Empty between steps; what is there is read with noise."""
        noise = self._noise * float(self._rng.standard_normal())
        there = int(self._times * self._limited.limit * (1 + noise))
        return MemoryReading(
            capacity=there, in_use=0, usable=there, peak=int(self._limited.mark), pressure=0.0
        )

    def may_probe(self) -> bool:
        """Too large a part raises, as on a device, and can be tried again smaller."""
        return True

    def peak_mark(self) -> None:
        """Peaks show in the readings only, as on a device."""

    def reclaim(self) -> None:
        """Nothing is cached."""


def capacities(rng: np.random.Generator, count: int) -> Iterator[float]:
    """Log-uniform from 1 to 1024."""
    return (float(value) for value in 2 ** rng.uniform(0, 10, count))


def changing(rng: np.random.Generator) -> list[float]:
    """512 rows, then 300, then 512, then drawn anew each step around 480; 100 steps each."""
    jitter = np.clip(rng.normal(480, 24, 100), 400, 560)
    return [512.5] * 100 + [300.5] * 100 + [512.5] * 100 + [float(value) for value in jitter]
