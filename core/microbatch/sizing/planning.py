"""Ask the policy, enforce the bounds, cut.

Invariant: whatever a policy answers, every row is in exactly one ubatch, no ubatch is empty, none is smaller
than its longest request or larger than the batch. A bad policy may be slow, never wrong. While the numbers
and the answer stay the same objects, so does the plan: a step that is like the one before it is not cut anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from microbatch.binding.batch import Batch
from microbatch.cutting.cut import cut, validate_slices
from microbatch.cutting.slices import Cut, UBatchSlice
from microbatch.extend.protocols import SizingPolicy
from microbatch.extend.records import MemoryReading, Proposal, SizingRequest, StepReport
from microbatch.options.fields import UBatchConfig
from microbatch.sizing.conditions import ALONE, Conditions
from microbatch.sizing.units import part_units, sized_signature, splitter_for, units_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one step shall do."""

    cut: Cut | None
    """Where to cut; None runs the function once on the whole batch."""
    reason: str
    """Why, for the report."""
    limit: int | None
    """Most units in one ubatch."""
    workers: int
    """Threads to use, the caller's included."""
    num_units: int
    """Units in the batch: rows, tokens, or cost."""
    unit: str
    """What one unit is."""
    sizes: tuple[int, ...]
    """Units of each part, in row order; one entry where the batch is not cut."""
    signature: str = ""
    """What sizes are learned for, as in the request."""
    fixed: bool = False
    """Whether the parts must be as they are: the caller named them, or the function may not be cut."""


class Planner:
    """Turns a batch into a plan. One per wrapper; may be used by several threads at once."""

    def __init__(self, policy: SizingPolicy, config: UBatchConfig, *, memory_share: float = 1.0) -> None:
        self.policy = policy
        """The policy, or the chain of them."""
        self._config = config
        self._memory_share = memory_share
        self._last = Proposal()
        self._last_request: tuple[SizingRequest | None, Conditions] = (None, ALONE)
        self._last_plan: tuple[SizingRequest, Proposal, Plan] | None = None
        # A policy need not be thread-safe: who holds the one token may call it, others use the last answer.
        # pop and append are atomic, so an interrupt can lose the token (sizes stay) but never block anybody.
        self._busy: deque[None] = deque([None])

    def plan(self, batch: Batch, memory: MemoryReading | None, conditions: Conditions, step: int) -> Plan:
        """Plan step number `step`; raises PolicyError when the policy breaks its contract."""
        request = self.request(batch, memory, conditions, step)
        if request.num_requests < 2 and batch.shape.num_tokens < 2:
            return _whole(request, "nothing to cut: one row" if batch.shape.num_tokens else "empty batch")
        proposal = self._propose(request)
        known = self._last_plan
        if known is not None and known[0] is request and known[1] is proposal:
            return known[2]
        plan = self._cut(batch, request, proposal) if proposal.split else _whole(request, proposal.reason)
        self._last_plan = (request, proposal, plan)
        return plan

    def whole(self, batch: Batch, reason: str) -> Plan:
        """The plan that runs the function once on the whole batch."""
        return replace(_whole(self.request(batch, None, ALONE, 0), reason), fixed=True)

    def explicit(self, batch: Batch, slices: Sequence[UBatchSlice], workers: int) -> Plan:
        """The plan for slices that the caller gave; raises SliceError if they do not cover the batch."""
        shape = batch.shape
        unit = "rows" if shape.query_start_loc is None else "tokens"
        given = Cut(slices=validate_slices(slices, shape))
        return Plan(
            cut=given,
            sizes=part_units(given, unit),
            reason="ubatch_slices given",
            limit=None,
            workers=workers,
            num_units=shape.num_tokens,
            unit=unit,
            signature=sized_signature(batch.signature, unit),
            fixed=True,
        )

    def optimal(self) -> int:
        """Units per ubatch the policy would allow for a batch like the last one; 0 before any step."""
        last, _ = self._last_request
        if last is None:
            return 0
        proposal, whole = self._propose(last), last.num_tokens
        return min(proposal.limit or whole, whole) if proposal.split else whole

    def observe(self, report: StepReport) -> None:
        """Show the policy a step, unless another thread is asking it right now."""
        try:
            self._busy.pop()
        except IndexError:
            return
        try:
            self.policy.observe(report)
        finally:
            self._busy.append(None)

    def request(
        self, batch: Batch, memory: MemoryReading | None, conditions: Conditions, step: int
    ) -> SizingRequest:
        """The numbers a policy sees; those of the step before where they are still true, which saves 5 us."""
        shape, signature = batch.shape, batch.signature
        # one value, since threads share it: a request must never be taken for that of other conditions
        last, known = self._last_request
        if (
            last is not None
            and last.num_tokens == shape.num_tokens
            and last.memory is memory
            and last.signature == signature
            and last.unit == "rows"
            and shape.lengths is None
            and shape.query_start_loc is None
            and known is conditions
        ):
            return last
        asked = self._asked(batch, memory, conditions, step)
        self._last_request = (asked, conditions)
        return asked

    def _asked(
        self, batch: Batch, memory: MemoryReading | None, conditions: Conditions, step: int
    ) -> SizingRequest:
        shape, config = batch.shape, self._config
        units = units_of(batch, splitter_for(config, batch))
        return SizingRequest(
            num_tokens=units.count,
            num_requests=shape.num_requests,
            unit=units.unit,
            longest_request=units.longest,
            bytes_per_unit=batch.bytes_per_unit * units.cells,
            largest_bytes_per_unit=batch.largest_bytes_per_unit * units.cells,
            signature=sized_signature(batch.signature, units.unit),
            memory=memory,
            memory_limit=self._memory_limit(memory),
            workers=conditions.workers,
            in_flight=conditions.in_flight,
            graph_sizes=conditions.graph_sizes if units.unit == "rows" else (),
            num_ubatches=config.num_ubatches,
            max_tokens=config.max_tokens_per_ubatch,
            decode=shape.query_start_loc is not None and shape.num_tokens == shape.num_requests,
            step=step,
            probe=conditions.probe,
        )

    def _propose(self, request: SizingRequest) -> Proposal:
        try:
            self._busy.pop()
        except IndexError:
            return self._last
        try:
            self._last = proposal = self.policy.propose(request)
            return proposal
        finally:
            self._busy.append(None)

    def _cut(self, batch: Batch, request: SizingRequest, proposal: Proposal) -> Plan:
        config = self._config
        limit = None if proposal.limit is None else max(proposal.limit, request.longest_request)
        if limit is not None and limit >= request.num_tokens:
            return _whole(request, proposal.reason or f"the whole batch is within the limit of {limit}")
        made = cut(
            batch.shape,
            splitter=splitter_for(config, batch),
            num_ubatches=min(config.num_ubatches, batch.shape.num_tokens) if limit is None else None,
            limit=limit,
            max_ubatches=config.max_ubatches,
        )
        if len(made.slices) < 2 and made.permutation is None:
            return _whole(request, proposal.reason)
        return replace(
            _whole(request, proposal.reason),
            cut=made,
            limit=limit,
            workers=max(1, min(request.workers, proposal.workers or request.workers)),
            sizes=part_units(made, request.unit),
        )

    def _memory_limit(self, memory: MemoryReading | None) -> int | None:
        limit = self._config.memory_limit
        if memory is None or not memory.capacity:
            return limit
        if limit is None and self._memory_share >= 1:
            return None
        share = max(1, int(memory.capacity * self._memory_share) - memory.in_use)
        return share if limit is None else min(limit, share)


def _whole(request: SizingRequest, reason: str) -> Plan:
    return Plan(
        cut=None,
        reason=reason,
        limit=None,
        workers=1,
        num_units=request.num_tokens,
        unit=request.unit,
        sizes=(request.num_tokens,),
        signature=request.signature,
    )
