"""`auto`: the policy when none is named. Memory first, then the fastest size below it, pressure and graph sizes on top.

Invariant: it answers what the chain `memory-model,throughput,pressure,buckets` would, and while nothing bounds the
step (the whole batch is known to fit, no pressure, no graphs) asks only the one that learns speed: a wrapped call
that is not cut may cost 15 us in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.extend.chain import Chain
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.buckets import Buckets
from microbatch_policies.memory.memory_model import MemoryModel
from microbatch_policies.pressure import Pressure
from microbatch_policies.speed.throughput import Throughput

__all__ = ["Auto"]

NEAR = 0.02
"""How much slower than the fastest the size may be: memory is bounded already, so less than `throughput` alone."""


class Auto:
    """The built-in policies as one, with a short cut. `risk` and `share` are those of `memory-model`."""

    def __init__(self, risk: float = 0.01, share: float = 0.95) -> None:
        self._memory = MemoryModel(risk=risk, share=share)
        self._speed = Throughput(near=NEAR)
        self._pressure = Pressure()
        bounded: list[tuple[str, Any]] = [
            ("memory-model", self._memory),
            ("throughput", self._speed),
            ("pressure", self._pressure),
        ]
        self._chain = Chain(bounded)
        self._graphs = Chain([*bounded, ("buckets", Buckets())])

    def propose(self, request: SizingRequest) -> Proposal:
        """The fastest size that fits."""
        if request.graph_sizes:
            return self._graphs.propose(request)
        if self._pressure.quiet(request) and self._memory.roomy(request):
            return self._speed.propose(request)
        return self._chain.propose(request)

    def observe(self, report: StepReport) -> None:
        """Show the step to those that learn."""
        self._memory.observe(report)
        self._speed.observe(report)

    def state(self) -> Mapping[str, Any]:
        """What the members learned."""
        return {"policy": "auto", "version": 1, "members": dict(self._chain.state())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give it back; raises ValueError for foreign state."""
        if not isinstance(state, Mapping) or state.get("policy") != "auto" or state.get("version") != 1:
            raise ValueError("not the state of policy 'auto'")
        self._chain.restore(state.get("members", {}))
