"""The adversarial backend: work is queued, and runs late and in the worst order that events allow.

Invariant: whatever a program computes here, it computes from what its events, synchronizations and host reads
order. A forgotten wait gives a wrong value or poison under one of `WORST_ORDERS`, every time, on any machine.
"""

from __future__ import annotations

from microbatch.testing.adversarial.executor import LazyExecutor
from microbatch.testing.adversarial.order import WorkOrder
from microbatch.testing.recording.checker import Race, check
from microbatch.testing.recording.trace import Trace
from microbatch.testing.simulated.backend import SimulatedBackend
from microbatch.testing.simulated.memory import MemoryModel


class AdversarialBackend(SimulatedBackend):
    """A backend that runs work in `order`. With a `trace`, it also records what was ordered."""

    name = "adversarial"

    def __init__(
        self, order: WorkOrder | None = None, model: MemoryModel | None = None, trace: Trace | None = None
    ) -> None:
        self.order = order or WorkOrder()
        self.trace = trace
        self._queues = LazyExecutor(self.order, lambda number: self.device.purposes[number])
        super().__init__(self._queues, model, trace, lazy=True)

    @property
    def pending(self) -> int:
        """Pieces of work that were launched and have not run."""
        return self._queues.pending

    def races(self) -> tuple[Race, ...]:
        """Conflicting accesses that nothing orders; empty without a trace."""
        return check(tuple(self.trace.entries)).races if self.trace is not None else ()
