"""Ask the policy, enforce the bounds, cut.

Invariant: whatever a policy answers, every row is in exactly one ubatch, no ubatch is empty, none is smaller than
its longest request or larger than the batch. A bad policy may be slow, never wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from microbatch.binding.batch import Batch
from microbatch.cutting.cut import Cut, UBatchSlice, cut, validate_slices
from microbatch.extend.protocols import SizingPolicy
from microbatch.extend.records import MemoryReading, Proposal, SizingRequest, StepReport
from microbatch.options.fields import UBatchConfig
from microbatch.sizing.traits import NO_TRAITS, DeviceTraits

__all__ = ["Plan", "Planner", "sized_signature"]


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
    fixed: bool = False
    """Whether the parts must be as they are: the caller named them, or the function may not be cut."""


class Planner:
    """Turns a batch into a plan. One per wrapper; may be used by several threads at once."""

    __slots__ = (
        "_busy",
        "_config",
        "_last",
        "_last_device",
        "_last_request",
        "_last_whole",
        "_memory_share",
        "_policy",
        "_splitter",
    )

    def __init__(self, policy: SizingPolicy, config: UBatchConfig, *, memory_share: float = 1.0) -> None:
        self._policy = policy
        self._config = config
        self._splitter = config.splitter
        self._memory_share = memory_share
        self._last = Proposal()
        self._last_request: SizingRequest | None = None
        self._last_device = NO_TRAITS
        self._last_whole: tuple[SizingRequest, Proposal, Plan] | None = None
        # A policy need not be thread-safe: who holds the one token may call it, others use the last answer.
        # pop and append are atomic, so an interrupt can lose the token (sizes stay) but never block anybody.
        self._busy: deque[None] = deque([None])

    @property
    def policy(self) -> SizingPolicy:
        """The policy, or the chain of them."""
        return self._policy

    def plan(
        self,
        batch: Batch,
        memory: MemoryReading | None,
        workers: int,
        step: int,
        in_flight: int | None = None,
        device: DeviceTraits = NO_TRAITS,
    ) -> Plan:
        """Plan one step; `in_flight` ubatches are alive at the same time, as many as workers if it is not given.

        Raises PolicyError when the policy breaks its contract.
        """
        request = self.request(batch, memory, workers, step, in_flight, device)
        if batch.shape.num_requests < 2 and batch.shape.num_tokens < 2:
            return _whole(request, "nothing to cut: one row" if batch.shape.num_tokens else "empty batch")
        proposal = self._propose(request)
        if not proposal.split:
            return self._uncut(request, proposal)
        return self._cut(batch, request, proposal)

    def whole(self, batch: Batch, reason: str) -> Plan:
        """The plan that runs the function once on the whole batch."""
        return replace(_whole(self.request(batch, None, 1, 0), reason), fixed=True)

    def explicit(self, batch: Batch, slices: Sequence[UBatchSlice], workers: int) -> Plan:
        """The plan for slices that the caller gave; raises SliceError if they do not cover the batch."""
        shape = batch.shape
        checked = Cut(slices=validate_slices(slices, shape), permutation=None, trims=None, padding_avoided=0)
        return Plan(
            cut=checked,
            reason="ubatch_slices given",
            limit=None,
            workers=workers,
            num_units=shape.num_tokens,
            unit="rows" if shape.query_start_loc is None else "tokens",
            fixed=True,
        )

    def optimal(self) -> int:
        """Units per ubatch the policy would allow for a batch like the last one; 0 before any step."""
        if self._last_request is None:
            return 0
        proposal = self._propose(self._last_request)
        whole = self._last_request.num_tokens
        return min(proposal.limit or whole, whole) if proposal.split else whole

    def observe(self, report: StepReport) -> None:
        """Show the policy a step, unless another thread is asking it right now."""
        try:
            self._busy.pop()
        except IndexError:
            return
        try:
            self._policy.observe(report)
        finally:
            self._busy.append(None)

    def request(
        self,
        batch: Batch,
        memory: MemoryReading | None,
        workers: int,
        step: int,
        in_flight: int | None = None,
        device: DeviceTraits = NO_TRAITS,
    ) -> SizingRequest:
        """The numbers a policy sees for `batch`; those of the step before where they are still true (5 us saved)."""
        shape, last = batch.shape, self._last_request
        signature = batch.signature
        if (
            last is not None
            and shape.lengths is None
            and shape.query_start_loc is None
            and (last.num_tokens, last.workers, last.unit) == (shape.num_tokens, workers, "rows")
            and last.memory is memory
            and last.signature == signature
            and self._last_device is device
        ):
            return last
        config = self._config
        units, unit, longest = _units(batch, self._splitter_for(batch))
        padded = shape.lengths is not None and unit == "rows"
        cells = (
            (batch.width or 1) if padded else 1
        )  # the batch counts bytes per padded cell, the unit is a row
        self._last_device = device
        self._last_request = last = SizingRequest(
            num_tokens=units,
            num_requests=shape.num_requests,
            unit=unit,
            longest_request=longest,
            bytes_per_unit=batch.bytes_per_unit * cells,
            largest_bytes_per_unit=batch.largest_bytes_per_unit * cells,
            signature=sized_signature(signature, unit),
            memory=memory,
            memory_limit=self._memory_limit(memory),
            workers=workers,
            in_flight=in_flight or workers,
            graph_sizes=device.graph_sizes if unit == "rows" else (),
            num_ubatches=config.num_ubatches,
            max_tokens=config.max_tokens_per_ubatch,
            decode=shape.query_start_loc is not None and shape.num_tokens == shape.num_requests,
            step=step,
            probe=device.probe,
        )
        return last

    def _propose(self, request: SizingRequest) -> Proposal:
        try:
            self._busy.pop()
        except IndexError:
            return self._last
        try:
            self._last = proposal = self._policy.propose(request)
            return proposal
        finally:
            self._busy.append(None)

    def _uncut(self, request: SizingRequest, proposal: Proposal) -> Plan:
        """The plan of a settled "do not split"; made once as long as request and answer stay the same objects."""
        known = self._last_whole
        if known is None or known[0] is not request or known[1] is not proposal:
            known = self._last_whole = (request, proposal, _whole(request, proposal.reason))
        return known[2]

    def _cut(self, batch: Batch, request: SizingRequest, proposal: Proposal) -> Plan:
        config = self._config
        limit = None if proposal.limit is None else max(proposal.limit, request.longest_request)
        if limit is not None and limit >= request.num_tokens:
            return _whole(request, proposal.reason or f"the whole batch is within the limit of {limit}")
        made = cut(
            batch.shape,
            splitter=self._splitter_for(batch),
            num_ubatches=min(config.num_ubatches, batch.shape.num_tokens) if limit is None else None,
            limit=limit,
            max_ubatches=config.max_ubatches,
        )
        if len(made.slices) < 2 and made.permutation is None:
            return _whole(request, proposal.reason)
        return Plan(
            cut=made,
            reason=proposal.reason,
            limit=limit,
            workers=max(1, min(request.workers, proposal.workers or request.workers)),
            num_units=request.num_tokens,
            unit=request.unit,
        )

    def _memory_limit(self, memory: MemoryReading | None) -> int | None:
        limit = self._config.memory_limit
        if memory is None or not memory.capacity:
            return limit
        if limit is None and self._memory_share >= 1:
            return None
        share = max(1, int(memory.capacity * self._memory_share) - memory.in_use)
        return share if limit is None else min(limit, share)

    def _splitter_for(self, batch: Batch) -> str:
        if self._splitter != "auto":
            return self._splitter
        return "even" if batch.shape.lengths is None else "packed"


def _units(batch: Batch, splitter: str) -> tuple[int, str, int]:
    """(units in the batch, their name, units of the longest request)."""
    shape = batch.shape
    if shape.lengths is not None and splitter == "packed":
        longest = int(shape.lengths.max()) if len(shape.lengths) else 0
        return max(int(shape.lengths.sum()), longest), "cost", max(1, longest)
    if shape.query_start_loc is None:
        return shape.num_tokens, "rows", 1
    if splitter in ("packed", "request-aligned"):
        lengths = shape.query_start_loc[1:] - shape.query_start_loc[:-1]
        return shape.num_tokens, "tokens", max(1, int(lengths.max()) if len(lengths) else 1)
    return shape.num_tokens, "tokens", 1


def sized_signature(signature: str, unit: str) -> str:
    """What sizes are learned for: a size in tokens says nothing of one in padded cost."""
    return signature if unit == "rows" else f"{signature} by {unit}"


def _whole(request: SizingRequest, reason: str) -> Plan:
    return Plan(
        cut=None, reason=reason, limit=None, workers=1, num_units=request.num_tokens, unit=request.unit
    )
