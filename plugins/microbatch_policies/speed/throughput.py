"""`throughput`: the smallest size within 5 % of the fastest, found by measuring the first steps.

The first size is one that is mostly good (`first_size`), so a caller with a single large step has it at once.
Then other sizes are measured (`size_search`), and the fastest of them with fewer workers (`fewer_workers`).
What is learned holds for one signature, number of workers and size class (power of two of the batch).

Invariant: once settled, a step costs two dictionary look-ups. There is no clock but the reports, so the same
reports give the same sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.kept import KINDS, own_state, remember, state_of
from microbatch_policies.option_checks import number
from microbatch_policies.speed.arms import WHOLE, Allowed
from microbatch_policies.speed.constants import ANSWERS, GAIN, MOST_NEAR, NEAR, SHORT, TINY_STEP, WARM
from microbatch_policies.speed.fewer_workers import fewer_choice, fewer_win, next_fewer
from microbatch_policies.speed.first_size import start_size
from microbatch_policies.speed.size_proposals import allowed_sizes, proposal_for, size_name, workers_name
from microbatch_policies.speed.size_search import SizeSearch
from microbatch_policies.speed.speed_kind import SpeedKind
from microbatch_policies.speed.steady_seconds import steady_seconds

Key = tuple[str, int, int]
"""Signature, size class (bits of the number of units) and workers."""
ANY = Allowed(low=0, high=62, whole=True)
"""All sizes, and the whole batch."""
Settled = tuple[Proposal, SpeedKind, int, int | None, Allowed]
"""The answer, its kind, and what it holds for: workers, limit of the chain, and what that limit allows."""


class Throughput:
    """Learns the size by speed: the smallest at most `near` (a fraction) slower than the fastest.

    Memory is not its business: put `memory-model` before it in a chain.
    """

    def __init__(self, near: float = NEAR) -> None:
        self._near = number("throughput", "near", near, MOST_NEAR, zero=True)
        self._kinds: dict[Key, SpeedKind] = {}
        self._settled: dict[tuple[str, int], Settled] = {}
        self.at_rest: SpeedKind | None = None
        """The kind whose settled size the last step had; None after any other step."""
        self._current: SpeedKind | None = None
        self._arm: int | None = None
        self._fewer: int | None = None
        self._limit: int | None = None

    def propose(self, request: SizingRequest) -> Proposal:
        """The settled size, or the next one to measure."""
        known = self._settled.get((request.signature, request.num_tokens))
        if known is None:
            return self._measure(request)
        proposal, kind, workers, limit, allowed = known
        if workers != request.workers or (limit != request.limit and allowed != allowed_sizes(request)):
            return self._measure(request)
        self._current, self._arm, self.at_rest = kind, None, kind
        return proposal

    def observe(self, report: StepReport) -> None:
        """Learn the time of a clean step."""
        kind, arm = self._current, self._arm
        self._current = self._arm = None
        if report.failure is not None or report.oom_sizes or report.calibration or report.seconds <= 0:
            self.at_rest = None
        elif kind is None:
            self._foreign(report)
        elif arm is None:
            self.rest(kind, report)
        else:
            self._learn(kind, arm, report)

    def rest(self, kind: SpeedKind, report: StepReport) -> bool:
        """Learn the time of one more settled step; False where all times must be looked at again."""
        state = kind.look(report.seconds / max(1, report.num_tokens))
        if state == "settled":
            return True
        self.at_rest = None
        self._settled = {key: value for key, value in self._settled.items() if value[1] is not kind}
        if state == "moved":
            kind.start_again()
        else:
            kind.recheck_contenders()
        return False

    def state(self) -> Mapping[str, Any]:
        """Seconds per unit of each kind and size."""
        kinds = [[list(key), *kind.as_json()] for key, kind in self._kinds.items()]
        return state_of("throughput", kinds=kinds)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take times back; each close contender is measured again. Raises ValueError for foreign state."""
        kinds: dict[Key, SpeedKind] = {}
        with own_state("throughput", state):
            for (signature, size_class, workers), *data in state["kinds"][-KINDS:]:
                if type(signature) is not str or type(size_class) is not int or type(workers) is not int:
                    raise ValueError("a kind is not named by signature, class and workers")
                kinds[signature, size_class, workers] = SpeedKind.from_json(data, workers)
        self._kinds = kinds
        self._settled = {}
        self._current = self._arm = self.at_rest = None

    def _measure(self, request: SizingRequest) -> Proposal:
        self.at_rest = None
        kind, units = self._kind(request), request.num_tokens
        search = kind.search
        allowed = allowed_sizes(request)
        arm = fewer = None
        if not _tiny_and_short(search, units):
            arm = search.next_arm(allowed, units, repeat=False)
            if arm is None and _worth_fewer(kind, request):
                fewer_next = next_fewer(search, kind.fewer, request.workers, allowed)
                fewer, arm = fewer_next or (None, None)
            if arm is None and not fewer_win(search, kind.fewer, allowed):
                arm = search.next_arm(allowed, units)
        self._current, self._arm, self._fewer = kind, arm, fewer
        if arm is None:
            proposal = self._settle(kind, request, allowed)
        else:
            on = "" if fewer is None else f" on {workers_name(fewer)}"
            proposal = proposal_for(arm, request, f"measuring {size_name(arm, request.unit)}{on}", fewer)
        self._limit = proposal.limit
        return proposal

    def _settle(self, kind: SpeedKind, request: SizingRequest, allowed: Allowed) -> Proposal:
        arm = kind.search.choice(allowed, self._near)
        if arm is None:
            start = max(kind.search.start, allowed.low)
            arm = min(start, allowed.high) if allowed.whole else allowed.high
            return proposal_for(arm, request, "no measured size may run")
        proposal = proposal_for(arm, request, _reason(kind.search, arm, request.unit, self._near))
        kind.settle(kind.search.value(arm))
        better = fewer_choice(kind.fewer, allowed, self._near)
        if better is not None and kind.fewer[better[0]].value(better[1]) * GAIN < kind.expected:
            count, arm = better
            name = f"{size_name(arm, request.unit)} on {workers_name(count)}"
            proposal = proposal_for(arm, request, f"{name} is faster than on {request.workers}", count)
            kind.settle(kind.fewer[count].value(arm))
        if len(self._settled) >= ANSWERS:
            self._settled.clear()
        key = (request.signature, request.num_tokens)
        self._settled[key] = (proposal, kind, request.workers, request.limit, allowed)
        return proposal

    def _kind(self, request: SizingRequest) -> SpeedKind:
        key = (request.signature, request.num_tokens.bit_length(), request.workers)
        kind = self._kinds.get(key)
        if kind is None:
            search = SizeSearch(self._start(key, request))
            kind = remember(self._kinds, key, SpeedKind(search, request.workers))
        return kind

    def _start(self, key: Key, request: SizingRequest) -> int:
        """What the nearest size class of the same signature settled on, else what the bytes say."""
        near = min(
            (other for other in self._kinds if other[0] == key[0] and other[2] == key[2]),
            key=lambda other: abs(other[1] - key[1]),
            default=None,
        )
        arm = None if near is None else self._kinds[near].search.choice(ANY)
        if arm is not None and arm != WHOLE:
            return arm
        size = start_size(request)
        return WHOLE if size is None else size.bit_length() - 1

    def _learn(self, kind: SpeedKind, arm: int, report: StepReport) -> None:
        search = kind.search if self._fewer is None else kind.fewer[self._fewer]
        ran = report.limit if report.split else None
        too_many = self._fewer is not None and report.workers > self._fewer
        if ran != (None if arm == WHOLE else self._limit) or too_many:
            search.refuse(arm)
            return
        kind.calls += 1
        if kind.calls > 1 or report.seconds >= WARM:
            units = max(1, report.num_tokens)
            search.record(arm, report.seconds / units, steady_seconds(report) / units)

    def _foreign(self, report: StepReport) -> None:
        """A time of one part measured elsewhere: it counts for every kind with that signature."""
        if report.split or report.num_tokens < 1:
            return
        arm = report.num_tokens.bit_length() - 1
        for (signature, size_class, workers), kind in self._kinds.items():
            if signature == report.signature and size_class > arm:
                kind.search.record(arm, report.seconds / report.num_tokens / workers)
        self._settled.clear()
        self.at_rest = None


def _tiny_and_short(search: SizeSearch, units: int) -> bool:
    return search.start == WHOLE and WHOLE in search.arms and search.value(WHOLE) * units < TINY_STEP


def _worth_fewer(kind: SpeedKind, request: SizingRequest) -> bool:
    """Whether fewer workers may be tried; steps too short to tell are left as they are."""
    arms = kind.search.arms
    return bool(arms) and min(map(kind.search.value, arms)) * request.num_tokens >= SHORT


def _reason(search: SizeSearch, arm: int, unit: str, near: float) -> str:
    if arm == WHOLE:
        return "cutting gains less than 3 %"
    return (
        f"{size_name(arm, unit)} is the smallest size within {near:.0%} of the fastest of {len(search.arms)}"
    )
