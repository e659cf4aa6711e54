"""`auto`, the policy when none is named: memory, the fastest size below it, pressure and graph sizes on top.

Invariant: it answers what the chain `memory-model,throughput,pressure,buckets` would. While nothing bounds
the step (the whole batch is known to fit, no pressure, no graphs) it asks only the one that learns speed.
Once a settled step has come and gone, the same request has the same answer until another size is due, and a
report like the last one is shown to the one that learns speed alone: a wrapped call that is not cut may cost
15 us in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from microbatch.extend.chain import Chain, checked
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.buckets import Buckets
from microbatch_policies.kept import OwnState, state_of
from microbatch_policies.memory.memory_model import MemoryModel
from microbatch_policies.pressure import Pressure
from microbatch_policies.speed.throughput import Throughput

NEAR = 0.02
"""How much slower than the fastest the size may be: memory is bounded already, so less than `throughput`."""

_TOLD = attrgetter(
    "memory_before",
    "num_tokens",
    "limit",
    "signature",
    "failure",
    "peak_bytes",
    "oom_sizes",
    "calibration",
    "left_out",
)
"""What a report says besides times and the sizes of parts."""


class Auto:
    """The built-in policies as one, with a short cut. `risk` and `share` are those of `memory-model`."""

    def __init__(self, risk: float = 0.01, share: float = 0.95) -> None:
        self._memory = MemoryModel(risk=risk, share=share)
        self._speed = Throughput(near=NEAR)
        self._pressure = Pressure()
        memory, speed = checked(self._memory, "memory-model"), checked(self._speed, "throughput")
        self._chain = Chain([memory, speed, checked(self._pressure, "pressure")])
        self._graphs = Chain([*self._chain.members, checked(Buckets(), "buckets")])
        self._request: SizingRequest | None = None
        self._answer = Proposal()
        self._report: StepReport | None = None
        self._asked = False

    def propose(self, request: SizingRequest) -> Proposal:
        """The fastest size that fits."""
        self._asked = True
        if request is self._request and self._report is not None:
            return self._answer
        self._request = self._report = None
        if request.graph_sizes:
            return self._graphs.propose(request)
        if not (self._pressure.quiet(request) and self._memory.roomy(request)):
            return self._chain.propose(request)
        self._request, self._answer = request, self._speed.propose(request)
        return self._answer

    def observe(self, report: StepReport) -> None:
        """Show the step to those that learn."""
        known, kind, asked, self._asked = self._report, self._speed.at_rest, self._asked, False
        if known is not None and kind is not None:
            if len(report.sizes) == len(known.sizes) and _TOLD(report) == _TOLD(known):
                # It ran as `known`, a clean one, did: its time may be news, and nothing else. The memory
                # model knows the size, and learns a peak that the next reading shows from the earlier report.
                if not kind.look(report.seconds, report.num_tokens):
                    self._report = None
                    self._speed.unsettle(kind)
                return
            if asked and self._request is not None:
                self._speed.propose(self._request)  # the short cut did not ask it, so it awaits no report
        self._memory.observe(report)
        self._speed.observe(report)
        settled = asked and self._request is not None and self._speed.at_rest is not None
        learned = report.peak_bytes is not None  # the whole batch may not be known to fit any more
        self._report = report if settled and not learned else None

    def state(self) -> Mapping[str, Any]:
        """What the members learned."""
        return state_of("auto", members=dict(self._chain.state()))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Give it back; raises ValueError for foreign state."""
        with OwnState("auto", state):
            self._chain.restore(state["members"])
        self._request = self._report = None
