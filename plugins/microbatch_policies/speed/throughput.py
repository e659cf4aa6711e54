"""`throughput`: the smallest size within 5 % of the fastest, found by measuring the first steps.

The first size is one that is mostly good (`first_size`), so a caller with a single large step has it at once.
Then other sizes are measured (`size_search`), and the fastest of them with fewer workers (`fewer_workers`).
Once a size has settled, others are set beside it now and then (`challenges`). What is
learned holds for one signature, number of workers and size class (power of two of the batch).

Invariant: a settled step costs two dictionary look-ups, unless another size is due. There is no clock but the
reports, so the same reports give the same sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.kept import KINDS, OwnState, remember, state_of, whole
from microbatch_policies.option_checks import number
from microbatch_policies.speed.arms import (
    PACED,
    WHOLE,
    Allowed,
    arm_name,
    is_paced,
    proposal_for,
)
from microbatch_policies.speed.constants import ANSWERS, CUT_GAIN, GAIN, MOST_NEAR, NEAR
from microbatch_policies.speed.fewer_workers import fewer_choice
from microbatch_policies.speed.first_size import start_size
from microbatch_policies.speed.paced_sizes import first_step
from microbatch_policies.speed.speed_kind import SpeedKind

Key = tuple[str, int, int]
"""Signature, size class (bits of the number of units) and workers."""
MOST_WORKERS = 1 << 16
"""Most workers that are believed."""
ANY = Allowed(low=0, high=62, whole=True)
"""All sizes, and the whole batch."""


class Answer(Struct, frozen=True, kw_only=True):
    """What was answered, and what for."""

    proposal: Proposal
    """The size, and why."""
    kind: SpeedKind
    """The kind of the batch."""
    limit: int | None
    """Limit of the policies before."""
    allowed: Allowed
    """What that limit allows."""
    arm: int | None = None
    """What the step measures; None once the kind has settled."""
    fewer: int | None = None
    """The number of workers it is measured with, where these are fewer than allowed."""


class Throughput:
    """Learns the size by speed: the smallest at most `near` (a fraction) slower than the fastest.

    Memory is not its business: put `memory-model` before it in a chain.
    """

    def __init__(self, near: float = NEAR) -> None:
        self._near = number("throughput", "near", near, MOST_NEAR, zero=True)
        self._kinds: dict[Key, SpeedKind] = {}
        self._settled: dict[Key, Answer] = {}
        """By signature, number of units and workers."""
        self._elsewhere: dict[str, dict[int, float]] = {}
        """By signature: exponent of a size -> least seconds per unit of one part, measured elsewhere."""
        self._asked: Answer | None = None
        """The answer whose step was not reported yet."""
        self.at_rest: SpeedKind | None = None
        """The kind whose settled size the last step had; None after any other step."""

    def propose(self, request: SizingRequest) -> Proposal:
        """The settled size, or the next one to measure."""
        answer = self._settled.get((request.signature, request.num_tokens, request.workers))
        if answer is None or (
            answer.limit != request.limit and answer.allowed != answer.kind.allowed(request)
        ):
            self.at_rest, answer = None, self._measure(request)
        else:
            self.at_rest = answer.kind
        self._asked = answer
        return answer.proposal

    def observe(self, report: StepReport) -> None:
        """Learn the time of a clean step."""
        asked, self._asked = self._asked, None
        if report.failure is not None or report.oom_sizes or report.calibration or report.seconds <= 0:
            self.at_rest = None
        elif asked is None:
            self._foreign(report)
        elif asked.arm is None:
            if not asked.kind.look(report.seconds, report.num_tokens):
                self.unsettle(asked.kind)
        else:
            asked.kind.learn(asked.arm, asked.fewer, asked.proposal.limit, report)

    def unsettle(self, kind: SpeedKind) -> None:
        """The times of `kind` must be looked at again."""
        self.at_rest = None
        self._settled = {key: answer for key, answer in self._settled.items() if answer.kind is not kind}

    def state(self) -> Mapping[str, Any]:
        """Seconds per unit of each kind and size."""
        kinds = [[list(key), *kind.as_json()] for key, kind in self._kinds.items()]
        return state_of("throughput", kinds=kinds)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take times back; each close contender is measured again. Raises ValueError for foreign state."""
        kinds: dict[Key, SpeedKind] = {}
        with OwnState("throughput", state):
            for (signature, size_class, workers), *data in state["kinds"][-KINDS:]:
                if type(signature) is not str:
                    raise ValueError("a kind is not named by a signature")
                key = signature, whole(size_class, 0, 64), whole(workers, 1, MOST_WORKERS)
                kinds[key] = SpeedKind.from_json(data, workers)
        self._kinds, self._settled = kinds, {}
        self._asked = self.at_rest = None
        for key, kind in kinds.items():
            self._tell(kind, key)

    def _measure(self, request: SizingRequest) -> Answer:
        """The next answer to learn from; once enough is known the settled one, which is remembered."""
        kind, limit = self._kind(request), request.limit
        allowed = kind.allowed(request)
        arm, fewer = kind.next_arm(request.num_tokens, request.workers, allowed)
        if arm is not None:
            verb = "measuring" if kind.challenged is None else "comparing with the settled size"
            reason = f"{verb} {arm_name(arm, request.unit, fewer)}"
            proposal = _proposal(arm, request, reason, fewer)
        else:
            proposal = self._fastest(kind, request, allowed)
        answer = Answer(proposal=proposal, kind=kind, limit=limit, allowed=allowed, arm=arm, fewer=fewer)
        if arm is None and kind.search.choice(allowed) is not None:
            if len(self._settled) >= ANSWERS:
                self._settled.clear()
            self._settled[request.signature, request.num_tokens, request.workers] = answer
        return answer

    def _fastest(self, kind: SpeedKind, request: SizingRequest, allowed: Allowed) -> Proposal:
        """The size to settle on; any that is allowed where no measured one may run."""
        search, unit = kind.search, request.unit
        arm = search.choice(allowed, self._near)
        if arm is None:
            arm = min(max(search.start, allowed.low), allowed.high) if allowed.whole else allowed.high
            kind.settled = None  # its steps are not those that rivals are set beside
            return _proposal(arm, request, "no measured size may run")
        seconds = search.value(arm)
        count, better = fewer_choice(kind.fewer, allowed, self._near) or (None, arm)
        gain = CUT_GAIN if arm == WHOLE else GAIN
        if count is not None and kind.fewer[count].value(better) * gain < seconds:
            kind.settle(better, count, kind.fewer[count].value(better))
            reason = f"{arm_name(better, unit, count)} is faster than on {request.workers}"
            return _proposal(better, request, reason, count)
        kind.settle(arm, None, seconds)
        found = f"is the smallest size within {self._near:.0%} of the fastest of {len(search.arms)}"
        reason = "cutting gains less than 8 %" if arm == WHOLE else f"{arm_name(arm, unit)} {found}"
        return _proposal(arm, request, reason)

    def _kind(self, request: SizingRequest) -> SpeedKind:
        key = (request.signature, request.num_tokens.bit_length(), request.workers)
        kind = self._kinds.get(key)
        if kind is None:
            kind = remember(
                self._kinds, key, SpeedKind(self._start(key, request), request.workers, few=request.few)
            )
            self._tell(kind, key)
        return kind

    def _tell(self, kind: SpeedKind, key: Key) -> None:
        """Let a kind know the times of its signature that were measured before it was there."""
        signature, size_class, workers = key
        for arm, seconds in self._elsewhere.get(signature, {}).items():
            if arm < size_class:
                kind.told(arm, seconds, workers)

    def _start(self, key: Key, request: SizingRequest) -> int:
        """What the nearest size class of the same signature settled on, else what the bytes say."""
        alike = (other for other in self._kinds if other[::2] == key[::2])
        near = min(alike, key=lambda other: abs(other[1] - key[1]), default=None)
        size, arm = start_size(request), None if near is None else self._kinds[near].search.choice(ANY)
        if arm is not None and arm != WHOLE:
            return arm
        if size is None:
            return WHOLE
        return PACED if is_paced(request) else size.bit_length() - 1

    def _foreign(self, report: StepReport) -> None:
        """A time of one part measured elsewhere: it counts for every kind with that signature.

        Also for kinds that are seen later, unless it is of a step that was not cut: its size was not chosen.
        """
        if report.split or report.num_tokens < 1:
            return
        arm, seconds = report.num_tokens.bit_length() - 1, report.seconds / report.num_tokens
        if not report.schedule:
            known = self._elsewhere.get(report.signature)
            if known is None:
                known = remember(self._elsewhere, report.signature, {})
            known[arm] = min(seconds, known.get(arm, seconds))
        for (signature, size_class, workers), kind in self._kinds.items():
            if signature == report.signature and size_class > arm:
                kind.told(arm, seconds, workers)
        self._settled.clear()
        self.at_rest = None


def _proposal(arm: int, request: SizingRequest, reason: str, workers: int | None = None) -> Proposal:
    """The proposal for an arm, on `workers` where these are fewer than allowed."""
    return first_step(request, reason) if arm == PACED else proposal_for(arm, request, reason, workers)
