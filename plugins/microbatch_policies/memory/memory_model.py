"""`memory-model`: the largest size whose predicted peak is within the memory there is.

Peak bytes of finished steps teach a weighted least-squares model; the answer is the largest size whose
one-sided bound (1 % risk) fits the budget. Running out of memory is not a data point but a bound that
expires. Until a peak was seen, a unit is assumed to need 64 times its input bytes.

Invariant: margins are bytes, never rows: 5 % of the rows is a whole row of a small limit. Rejected: probing
to failure, since a process that takes too much on a CPU is killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.extend.records import MemoryReading, Proposal, SizingRequest, StepReport, unit_label
from microbatch_policies.kept import KINDS, OwnState, remember, state_of
from microbatch_policies.memory.memory_kind import MemoryKind
from microbatch_policies.option_checks import number


class MemoryModel:
    """Bounds the size by memory.

    `risk` is the chance that a step's peak exceeds the bound; `share` the part of the usable memory that is
    planned with (an explicit memory limit is planned with whole); `forgetting` how fast older peaks fade per
    step.
    """

    def __init__(self, risk: float = 0.01, share: float = 0.95, forgetting: float = 0.99) -> None:
        self._share = number("memory-model", "share", share, 1.0)
        fading = number("memory-model", "forgetting", forgetting, 1.0)
        self._of_kinds = (number("memory-model", "risk", risk, 0.49), fading)
        self._kinds: dict[str, MemoryKind] = {}
        self._side = 0
        self._budget: float | None = None
        self._step = 0
        self._late: tuple[StepReport, MemoryReading, int] | None = None
        """The last report if it had no peak, the reading before that step, and its units in flight."""

    def roomy(self, request: SizingRequest) -> bool:
        """Whether the whole batch is known to fit; about 1 us once it was worked out."""
        late = self._late
        if late is not None and request.memory is not None and request.memory.peak > late[1].peak:
            return False
        kind = self._kinds.get(request.signature)
        if kind is None or kind.bracket.fails:
            return False
        self._budget = budget = self.budget(request)
        self._side = request.in_flight
        return budget is None or kind.need(request.num_tokens, _input_bytes(request)) <= budget

    def budget(self, request: SizingRequest) -> float | None:
        """Bytes a step may use; None when nothing says so."""
        memory, limit = request.memory, request.memory_limit
        if memory is None or memory.capacity <= 0:
            return None if limit is None else float(limit)
        usable = max(0.0, memory.usable * self._share)
        return usable if limit is None else min(float(limit), usable)

    def propose(self, request: SizingRequest) -> Proposal:
        """The most units that fit, and fewer workers where not even the smallest parts of all of them fit."""
        self._measured_late(request)
        self._step += 1
        self._budget = budget = self.budget(request)
        self._side = request.in_flight
        kind, unit = self._kind(request.signature), unit_label(request.unit)
        most = total = max(1, request.num_tokens)
        if budget is not None:
            most = kind.largest(budget, total, _input_bytes(request), probe=request.probe)
        failed = kind.bracket.limit(self._step, budget)
        if failed is not None and failed < most:
            return _bounded(request, failed, f"{kind.bracket.fails} {unit} did not fit")
        how = "predicted" if kind.model.count else "assumed"
        why = f"{most} {unit} are {how} to fit {budget:,.0f} bytes" if most < total else ""
        return _bounded(request, most, why)

    def observe(self, report: StepReport) -> None:
        """Learn the peak of a clean step, or that a size failed."""
        kind = self._kind(report.signature)
        side = max(1, min(self._side or report.workers, report.workers))
        if report.oom_sizes:
            self._learn_failure(kind, report, side)
        elif report.failure is None and report.num_tokens > 0 and report.sizes:
            self._learn(kind, report, sum(sorted(report.sizes)[-side:]))

    def _learn(self, kind: MemoryKind, report: StepReport, x: int) -> None:
        kind.note(x)
        if report.peak_bytes is not None and report.peak_bytes > 0:
            kind.learn(x, report.num_tokens, float(report.peak_bytes))
        elif report.memory_before is not None and not _in_small_parts(report):
            self._late = (report, report.memory_before, x)

    def _learn_failure(self, kind: MemoryKind, report: StepReport, side: int) -> None:
        """The smallest size that failed is a bound; of a step that went on, half of it ran."""
        size, total = min(report.oom_sizes), max(1, report.num_tokens)
        self._step = max(self._step, 1)
        kind.bracket.fail(min(size * side, total), self._step, self._budget)
        if report.failure is None:
            kind.bracket.fit(min(size // 2 * side, total))

    def _measured_late(self, request: SizingRequest) -> None:
        """Where the report had no peak, learn it from the highest mark of the reading after the step.

        A mark that rose was raised by the step, unless it is just what is in use now: then it was set by what
        stayed alive, and teaches nothing. One that stands where a step of this size had set it says that the
        size needed no more this time either. Without that a settled size would show no second peak, and the
        bound would stay as wide as after the first (benchmarks sizing, no noise: 0.94 of what fits, 1.00 with
        it).
        """
        late, self._late = self._late, None
        memory = request.memory
        if late is None or memory is None:
            return
        report, before, x = late
        kind, mark = self._kind(report.signature), (x, report.num_tokens, memory.peak)
        if memory.peak > max(before.peak, before.in_use, memory.in_use) or kind.mark == mark:
            kind.learn(x, report.num_tokens, float(memory.peak - before.in_use))
            kind.mark = mark

    def _kind(self, signature: str) -> MemoryKind:
        known = self._kinds.get(signature)
        return known or remember(self._kinds, signature, MemoryKind(*self._of_kinds))

    def state(self) -> Mapping[str, Any]:
        """The sums of each signature."""
        return state_of("memory-model", kinds={key: kind.as_json() for key, kind in self._kinds.items()})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back, four times as unsure. Raises ValueError, nothing changed, for foreign state."""
        with OwnState("memory-model", state):
            kinds = list(state["kinds"].items())[-KINDS:]
            self._kinds = {str(key): MemoryKind.from_json(data, *self._of_kinds) for key, data in kinds}
        self._late = None


def _bounded(request: SizingRequest, most: int, reason: str) -> Proposal:
    """At most `most` units in flight, over as many workers as then still get a request each."""
    total, longest = max(1, request.num_tokens), max(1, request.longest_request)
    if most >= total:
        return Proposal(limit=total, reason=reason, hard=True)
    side, workers = max(1, request.in_flight), None
    if most // side < longest and side > 1:
        workers = side = max(1, min(side, most // longest))
    return Proposal(limit=max(1, min(total, most // side)), reason=reason, workers=workers, hard=True)


def _in_small_parts(report: StepReport) -> bool:
    """Whether its parts were small for their memory to be measured: then the result is most of what it took.

    Taken for what the parts needed, it made the next ones ever smaller, down to a row.
    """
    return report.calibration and not report.graph_captures


def _input_bytes(request: SizingRequest) -> int:
    """Bytes per unit, 0 where they say nothing: cost units count characters or padded tokens of strings."""
    return 0 if request.unit == "cost" else request.bytes_per_unit
