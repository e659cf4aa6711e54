"""Ask the policy, enforce the bounds, cut.

Invariant: whatever a policy answers, every row is in exactly one ubatch, no ubatch is empty, and none is
above the limit or the user's cap unless it is one request. A bad policy may be slow, never wrong. While the
numbers and the answer stay the same objects, so does the plan: a step that is like the one before it is not
cut anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import TypeVar

from msgspec import structs

from microbatch.binding.batch import Batch
from microbatch.cutting.cut import cut, most_ubatches, validate_cut
from microbatch.cutting.slices import Cut, UBatchSlice, row_slices
from microbatch.errors import PolicyError
from microbatch.extend.protocols import SizingPolicy
from microbatch.extend.records import FailureKind, MemoryReading, Proposal, SizingRequest, StepReport
from microbatch.options.byte_sizes import bytes_of
from microbatch.options.fields import UBatchConfig
from microbatch.sizing.conditions import ALONE, Conditions
from microbatch.sizing.few_sizes import FewSizes, rounded
from microbatch.sizing.pace_bounds import PARTS, PaceBounds
from microbatch.sizing.plan import Plan, whole_plan
from microbatch.sizing.taught import Taught, report_of
from microbatch.sizing.together import Together
from microbatch.sizing.units import part_units, sized_signature, splitter_for, units_of
from microbatch.sizing.wanted import Wanted, wanted
from microbatch.turns.at_most_one import AtMostOne

Answer = TypeVar("Answer")


class Planner:
    """Turns a batch into a plan. One per wrapper; may be used by several threads at once."""

    def __init__(
        self,
        policy: SizingPolicy,
        config: UBatchConfig,
        *,
        memory_share: float = 1.0,
        cap: int | None = None,
        together: Together | None = None,
        few: bool = False,
    ) -> None:
        """`cap` is `max_tokens_per_ubatch` where the user set it: no policy may allow more. `together` bounds
        the ubatches that take turns on threads. `few` says that parts may have few sizes."""
        self.few = few
        """Whether the function is compiled anew for each number of rows."""
        self.policy = policy
        """The policy, or the chain of them."""
        self._cap = cap
        self._together = together
        self._few = FewSizes() if few else None
        self._config = config
        self._memory_share = memory_share
        self._taught = Taught()
        self._last = Proposal()
        self._last_request: tuple[SizingRequest | None, Conditions] = (None, ALONE)
        self._last_plan: tuple[SizingRequest, Proposal, Plan] | None = None
        # a policy need not be thread-safe: one thread at a time calls it, others use the last answer
        self._policy_calls = AtMostOne()
        self._take_back: Callable[[], None] | None = None
        """Takes back from the policy what it was given of earlier runs; None where it was given nothing."""

    @property
    def capped(self) -> bool:
        """Whether the user bounds the parts."""
        return self._cap is not None

    def plan(self, batch: Batch, memory: MemoryReading | None, conditions: Conditions, step: int) -> Plan:
        """Plan step number `step`; raises PolicyError when the policy breaks its contract."""
        request = self.request(batch, memory, conditions, step)
        if request.num_requests < 2 and batch.shape.num_tokens < 2:
            return whole_plan(request, "nothing to cut: one row" if batch.shape.num_tokens else "empty batch")
        proposal = self._propose(request)
        known = self._last_plan
        if known is not None and known[0] is request and known[1] is proposal:
            return known[2]
        plan = self._cut(batch, request, proposal)
        self._last_plan = (request, proposal, plan)
        return plan

    def whole(self, batch: Batch, reason: str) -> Plan:
        """The plan that runs the function once on the whole batch."""
        return structs.replace(whole_plan(self.request(batch, None, ALONE, 0), reason), fixed=True)

    def explicit(self, batch: Batch, slices: Sequence[UBatchSlice] | Cut, workers: int) -> Plan:
        """The plan for slices that the caller gave; raises SliceError if they do not cover the batch."""
        shape = batch.shape
        unit = "rows" if shape.query_start_loc is None else "tokens"
        given = validate_cut(slices, shape)
        together = None if self._together is None else self._together.for_slices(len(given.slices))
        return Plan(
            cut=given,
            sizes=part_units(given, unit),
            reason=_joined("ubatch_slices given", together.note(len(given.slices)) if together else ""),
            limit=None,
            workers=workers,
            num_units=shape.num_tokens,
            unit=unit,
            signature=sized_signature(batch.signature, unit),
            together=None if together is None else together.most,
            fixed=True,
        )

    def at_once(self, plan: Plan) -> int | None:
        """Most ubatches of a step with this plan, or one like it, that take turns at the same time."""
        most = None if self._together is None else self._together.most
        return plan.together or most

    def teach(self, num_tokens: int, seconds: float) -> None:
        """Show the policy a time measured elsewhere: of one ubatch, of such rows as the last batch has; where
        there was none yet, of such as the first will have."""
        last, _ = self._last_request
        if last is None:
            self._taught.add(num_tokens, seconds)
        else:
            self.observe(report_of(last, num_tokens, seconds))

    def optimal(self) -> int:
        """Units per ubatch the policy would allow for a batch like the last one.

        Before any step, those of the best rate that was taught within the cap; 0 where there is none.
        """
        last, _ = self._last_request
        if last is None:
            return self._taught.best(self._cap)
        proposal = self._propose(last)
        size = min(
            wanted(last, proposal, last.num_tokens).size(last.num_tokens), proposal.start or last.num_tokens
        )
        # The policy awaits the report of a step that is not run, and would take the next time for it. A step
        # that failed teaches nothing.
        unrun = report_of(last, last.num_tokens, 0.0)
        self.observe(replace(unrun, failure=FailureKind.OTHER))
        return size

    def observe(self, report: StepReport) -> None:
        """Show the policy a step, unless another thread is asking it right now."""
        work = self._observe if self._take_back is not None else self.policy.observe
        self._policy_calls.run(partial(work, report), _nothing)

    def alone(self, work: Callable[[], Answer]) -> Answer | None:
        """What `work` returns, which has to do with the policy; None while another thread is asking it."""
        return self._policy_calls.run(work, _nothing)

    def on_trial(self, take_back: Callable[[], None]) -> None:
        """Note that the policy was given back what it had learned; call `take_back`, once, if it fails so."""
        self._take_back = take_back

    def _again(self, ask: Callable[[], Answer]) -> Answer:
        """Called while a PolicyError is handled: what `ask` returns without what was given back."""
        take_back, self._take_back = self._take_back, None
        if take_back is None:
            raise  # noqa: PLE0704 - the error that is being handled
        take_back()
        return ask()

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
        for report in self._taught.reports(asked) if self._taught else ():
            self.observe(report)
        return asked

    def _asked(
        self, batch: Batch, memory: MemoryReading | None, conditions: Conditions, step: int
    ) -> SizingRequest:
        shape, config = batch.shape, self._config
        units = units_of(batch, splitter_for(config, batch))
        return SizingRequest(
            num_tokens=units.count,
            num_requests=shape.num_requests,
            limit=self._cap if self._cap is not None and self._cap < units.count else None,
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
            few=self._few is not None,
            paced=conditions.paced and self._may_pace(batch),
        )

    def _may_pace(self, batch: Batch) -> bool:
        """Whether parts of any sizes may come one after another: rows in their order, each a request."""
        shape, config = batch.shape, self._config
        plain = shape.num_tokens == shape.num_requests and shape.query_start_loc is None
        apart = shape.lengths is None and not shape.padded and config.multiple_of == 1
        return plain and apart and self._few is None and config.splitter in ("auto", "even")

    def _propose(self, request: SizingRequest) -> Proposal:
        work = self._ask if self._take_back is not None else self.policy.propose
        self._last = proposal = self._policy_calls.run(partial(work, request), lambda: self._last)
        return proposal

    def _observe(self, report: StepReport) -> None:
        """Show it to the policy; where it fails with what it was given of earlier runs, without that."""
        try:
            self.policy.observe(report)
        except PolicyError:
            self._again(lambda: self.policy.observe(report))

    def _ask(self, request: SizingRequest) -> Proposal:
        """What the policy proposes; where it fails with what it was given of earlier runs, without that."""
        try:
            return self.policy.propose(request)
        except PolicyError:
            return self._again(lambda: self.policy.propose(request))

    def _cut(self, batch: Batch, request: SizingRequest, proposal: Proposal) -> Plan:
        splitter, most = splitter_for(self._config, batch), self._config.max_ubatches
        multiple, shape = self._config.multiple_of, batch.shape
        pace = pace_bounds(request, proposal, most)
        if proposal.start is not None:
            begin = proposal.start if pace is None else pace.start
            proposal = replace(proposal, limit=min(begin, proposal.limit or begin))
        due = wanted(request, proposal, most_ubatches(shape, splitter, multiple), self._together)
        instead = self._instead_of_whole(request) if due.whole else None
        if instead is not None:
            proposal = replace(proposal, split=True, limit=instead, count=None)
            due = wanted(request, proposal, most_ubatches(shape, splitter, multiple), self._together)
        if due.whole:
            said = proposal.reason
            if not said and proposal.split and proposal.limit is not None:
                said = f"the whole batch is within the limit of {proposal.limit}"
            return whole_plan(request, _joined(said, due.note(1)))
        count, limit = due.count if due.count > 1 else None, due.limit
        if limit is not None:  # what is then too large for its memory is cut further where it runs
            fewest = -(-request.num_tokens // most)
            limit = max(limit, min(fewest, request.limit or fewest))  # the user's cap is not exceeded
        few = None if count or multiple > 1 else self._of_few_sizes(request, proposal, due)
        made = few or cut(
            shape,
            splitter=splitter,
            num_ubatches=count,
            limit=limit,
            max_ubatches=most,
            multiple_of=multiple,
        )
        sizes = part_units(made, request.unit)
        return structs.replace(
            whole_plan(request, _joined(proposal.reason, due.note(len(sizes)))),
            cut=made,
            limit=_limit(request, due, sizes, exact=bool(few) or len(sizes) == count)
            if pace is None
            else pace.most,
            workers=max(1, min(request.workers, proposal.workers or request.workers)),
            sizes=sizes,
            together=None if self._together is None else self._together.most,
            pace=pace,
        )

    def tried(self, batch: Batch, sizes: Sequence[int]) -> None:
        """Take note of how many rows each call had that showed whether the function may be cut."""
        if self._few is not None:
            self._few.called(sized_signature(batch.signature, "rows"), sizes)

    def _instead_of_whole(self, request: SizingRequest) -> int | None:
        """The size of parts for a batch that a policy would try whole; None where it runs whole."""
        plain = request.unit == "rows" and request.num_tokens == request.num_requests
        if self._few is None or not plain:
            return None
        return self._few.instead_of_whole(request.signature, request.num_tokens)

    def _of_few_sizes(self, request: SizingRequest, proposal: Proposal, due: Wanted) -> Cut | None:
        """The cut in parts of few sizes; None where parts may have any, or would be too many."""
        plain = request.unit == "rows" and request.num_tokens == request.num_requests
        if self._few is None or due.limit is None or not plain:
            return None
        hard = proposal.hard or due.cap is not None
        limit = due.limit if due.limit == request.limit else rounded(due.limit, hard=hard)
        sizes = self._few.parts(request.signature, request.num_tokens, limit, hard=hard)
        if len(sizes) > self._config.max_ubatches:
            return None
        return Cut(slices=row_slices([0, *accumulate(sizes)]))

    def _memory_limit(self, memory: MemoryReading | None) -> int | None:
        limit = bytes_of(self._config.memory_limit, 0 if memory is None else memory.capacity)
        if memory is None or not memory.capacity:
            return limit
        if limit is None and self._memory_share >= 1:
            return None
        share = max(1, int(memory.capacity * self._memory_share) - memory.in_use)
        return share if limit is None else min(limit, share)


def pace_bounds(request: SizingRequest, proposal: Proposal, most_parts: int) -> PaceBounds | None:
    """What holds for the parts of a step that is planned as it goes; None where its parts are all alike.

    Where the policy sets no limit no part has more than a 32nd of the batch, so that there are parts enough
    to measure.
    """
    if not request.paced or proposal.start is None or proposal.count or not proposal.split:
        return None
    allowed = proposal.limit or max(-(-request.num_tokens // PARTS), proposal.start)
    bound = min(request.limit or request.num_tokens, allowed)
    least = _power_of_two(-(-request.num_tokens // most_parts), up=True)
    start = max(least, _power_of_two(min(proposal.start, bound)))
    most = max(start, _power_of_two(bound))
    if start > bound:
        return None
    return PaceBounds(start=start, least=least, most=most)


def _power_of_two(units: int, *, up: bool = False) -> int:
    return 1 << (max(1, units) - up).bit_length() - (not up)


def _limit(request: SizingRequest, due: Wanted, sizes: Sequence[int], *, exact: bool) -> int:
    return max(sizes) if exact else max(due.limit or 1, request.longest_request)


def _nothing() -> None:
    pass


def _joined(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))
