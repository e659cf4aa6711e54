"""The simulated device as torch sees it: streams by number, random numbers, memory.

Invariant: torch hands out 32 streams of a priority in turn, so the 33rd is the first again.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from microbatch.testing.adversarial.executor import LazyExecutor
from microbatch.testing.recording.trace import Trace
from microbatch.testing.simulated.device import SimulatedDevice
from microbatch.testing.simulated.streams import SimulatedStream
from microbatch_backends.torch_simulated.memory import TorchMemory

POOL = 32
"""Streams of a priority."""


class TorchStreams(SimulatedDevice):
    """Streams, memory and random numbers of `cuda:0`."""

    memory: TorchMemory

    def __init__(self, executor: LazyExecutor, memory: TorchMemory, trace: Trace | None) -> None:
        super().__init__("cuda:0", executor, memory, trace, lazy=True)
        self.generator = torch.Generator()
        """Where seeds of random operations come from."""
        self._drawn = {0: itertools.count(), -1: itertools.count()}

    def next_stream(self, priority: int) -> SimulatedStream:
        """The next stream of `priority` (0, or below for urgent ones)."""
        urgency = min(0, max(-1, priority))
        number = next(self._drawn[urgency]) % POOL
        return self.named(f"{'stream' if urgency == 0 else 'urgent'}{number}")

    def seed(self, generator: Any = None) -> int:
        """The next seed of a random operation, from a generator that the user gave, or the device's."""
        given = self.generator if generator is None else generator
        return int(torch.empty((), dtype=torch.int64).random_(generator=given))
