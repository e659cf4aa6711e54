"""`throughput`: the smallest size within 5 % of the fastest, found by measuring the first steps.

The search starts where one live array of a part is near the cache (1 MiB: 0.5 to 2 MiB is best on cores with 1 MiB
of L2), and with enough parts that intermediates much wider than the input stay small too: a caller with a single
large step gets a good size at once. What is learned holds for one signature and size class (power of two of the
batch). Then the fastest size is tried with one worker, which has all threads of the framework to itself: chains of
short operations hold the interpreter's lock for so much of their time that two threads are slower than one (measured
on 2 cores: a chain of 8 torch operations takes 33-40 ms on two workers, 21-30 ms on one). Invariant: settled, a step costs two dictionary look-ups; the clock is the number of reports, so the same
reports give the same sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.errors import ArgumentValueError
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.search import GAIN, NEAR, SHORT, WHOLE, SizeSearch
from microbatch_policies.solo import solo_arm, solo_choice, solo_wins
from microbatch_policies.start import start_size

__all__ = ["Throughput"]

KINDS = 256
"""Kinds of batches remembered; the oldest is forgotten first."""
ANSWERS = 1024
"""Settled answers remembered."""
TINY_STEP = 1e-3
"""Seconds: a tiny batch that takes less than this whole is never cut."""
WARM = 0.5
"""Seconds from which the first call counts although it is cold."""
RECHECK = 64
"""Settled steps after which the contenders are measured once more; then after four times as many."""
DRIFT = 2.0
"""Factor by which the settled time may move before the search starts again."""
PATIENCE = 8
"""Settled steps before that is looked at; twice as many after each new start, since on a shared machine the times move
by themselves."""

Key = tuple[str, int, int]


class _Kind:
    """One kind of batch: its search and, once settled, how its time develops."""

    __slots__ = ("age", "calls", "expected", "patience", "recent", "recheck", "search", "solo")

    def __init__(self, search: SizeSearch, solo: SizeSearch | None = None) -> None:
        self.search = search
        self.solo = solo or SizeSearch(search.start)
        self.calls = 0
        self.age = 0
        self.recheck = RECHECK
        self.patience = PATIENCE
        self.expected = 0.0
        self.recent = 0.0


Settled = tuple[Proposal, _Kind, int, int | None, tuple[int, int, bool]]
"""The answer, its kind, and what it holds for: workers, limit of the chain, and what that limit allows."""


class Throughput:
    """Learns the size by speed: the smallest at most `near` (a fraction) slower than the fastest.

    Memory is not its business: put `memory-model` before it in a chain.
    """

    def __init__(self, near: float = NEAR) -> None:
        if isinstance(near, bool) or not isinstance(near, (int, float)) or not 0 <= near < 1:
            raise ArgumentValueError(
                f"near={near!r} of policy 'throughput' must be a fraction from 0 to below 1"
            )
        self._near = near
        self._kinds: dict[Key, _Kind] = {}
        self._settled: dict[tuple[str, int], Settled] = {}
        self._current: _Kind | None = None
        self._arm: int | None = None
        self._alone = False
        self._limit: int | None = None

    def propose(self, request: SizingRequest) -> Proposal:
        """The settled size, or the next one to measure."""
        known = self._settled.get((request.signature, request.num_tokens))
        if known is None or request.failed_at is not None:
            return self._measure(request)
        proposal, kind, workers, limit, allowed = known
        if workers != request.workers or (limit != request.limit and allowed != _range(request)):
            return self._measure(request)
        self._current, self._arm = kind, None
        return proposal

    def observe(self, report: StepReport) -> None:
        """Learn the time of a clean step."""
        kind, arm = self._current, self._arm
        self._current = self._arm = None
        if report.failure is not None or report.oom_sizes or report.calibration or report.seconds <= 0:
            return
        if kind is None:
            self._foreign(report)
        elif arm is None:
            self._drift(kind, report)
        else:
            self._learn(kind, arm, report)

    def state(self) -> Mapping[str, Any]:
        """Times per unit of each kind and size."""
        kinds = [[list(key), kind.search.as_json(), kind.solo.as_json()] for key, kind in self._kinds.items()]
        return {"policy": "throughput", "version": 1, "kinds": kinds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take times back; each close contender is measured again. Raises ValueError for foreign state."""
        kinds: dict[Key, _Kind] = {}
        try:
            if state["policy"] != "throughput" or state["version"] != 1:
                raise ValueError("it was written by another policy or version")
            for (signature, size_class, workers), data, *alone in state["kinds"][-KINDS:]:
                if type(signature) is not str or type(size_class) is not int or type(workers) is not int:
                    raise ValueError("a kind is not named by signature, class and workers")
                solo = SizeSearch.from_json(alone[0]) if alone else None
                kinds[signature, size_class, workers] = _Kind(SizeSearch.from_json(data), solo)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"not the state of policy 'throughput': {error}") from error
        self._kinds = kinds
        self._settled = {}
        self._current = self._arm = None

    def _measure(self, request: SizingRequest) -> Proposal:
        kind = self._kind(request)
        units = request.num_tokens
        low, high, whole = _range(request)
        tiny = _tiny_and_short(kind.search, units)
        search = kind.search
        arm = None if tiny else search.next_arm(low, high, whole=whole, units=units, repeat=False)
        alone = None if tiny or arm is not None else _solo_arm(kind, request, low, high, whole)
        if arm is None and alone is None and not tiny and not solo_wins(search, kind.solo, low, high):
            arm = search.next_arm(low, high, whole=whole, units=units)
        self._alone = alone is not None
        self._current, self._arm = kind, arm if alone is None else alone
        if arm is not None:
            proposal = _proposal(arm, request, f"measuring {_name(arm, request.unit)}")
        elif alone is not None:
            proposal = _proposal_alone(
                alone, request, f"measuring {_name(alone, request.unit)} on one worker"
            )
        else:
            proposal = self._settle(kind, request, low, high, whole)
        self._limit = proposal.limit
        return proposal

    def _settle(self, kind: _Kind, request: SizingRequest, low: int, high: int, whole: bool) -> Proposal:
        arm = kind.search.choice(low, high, whole=whole, near=self._near)
        if arm is None:
            arm = high if not whole else min(max(kind.search.start, low), high)
            return _proposal(arm, request, "no measured size may run")
        proposal = _proposal(arm, request, _reason(kind.search, arm, request.unit, self._near))
        kind.expected = kind.recent = kind.search.value(arm)
        alone = None if request.workers < 2 else solo_choice(kind.solo, low, high, self._near)
        if alone is not None and kind.solo.value(alone) * GAIN < kind.expected:
            reason = f"{_name(alone, request.unit)} on one worker is faster than on {request.workers}"
            proposal = _proposal_alone(alone, request, reason)
            kind.expected = kind.recent = kind.solo.value(alone)
        kind.age = 0
        if len(self._settled) >= ANSWERS:
            self._settled.clear()
        if request.failed_at is None:
            key = (request.signature, request.num_tokens)
            self._settled[key] = (proposal, kind, request.workers, request.limit, (low, high, whole))
        return proposal

    def _kind(self, request: SizingRequest) -> _Kind:
        key = (request.signature, request.num_tokens.bit_length(), request.workers)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(SizeSearch(self._start(key, request)))
            while len(self._kinds) > KINDS:
                del self._kinds[next(iter(self._kinds))]
        return kind

    def _start(self, key: Key, request: SizingRequest) -> int:
        """What the nearest size class of the same signature settled on, else what the bytes say."""
        near = min(
            (other for other in self._kinds if other[0] == key[0] and other[2] == key[2]),
            key=lambda other: abs(other[1] - key[1]),
            default=None,
        )
        arm = None if near is None else self._kinds[near].search.choice(0, 62, whole=True)
        if arm is not None and arm != WHOLE:
            return arm
        size = start_size(request)
        return WHOLE if size is None else size.bit_length() - 1

    def _learn(self, kind: _Kind, arm: int, report: StepReport) -> None:
        search = kind.solo if self._alone else kind.search
        ran = report.limit if report.split else None
        if ran != (None if arm == WHOLE else self._limit) or (self._alone and report.workers > 1):
            search.refuse(arm)
            return
        kind.calls += 1
        if kind.calls > 1 or report.seconds >= WARM:
            search.record(arm, report.seconds / max(1, report.num_tokens))

    def _drift(self, kind: _Kind, report: StepReport) -> None:
        kind.age += 1
        kind.recent += 0.2 * (report.seconds / max(1, report.num_tokens) - kind.recent)
        moved = not kind.expected <= kind.recent * DRIFT <= kind.expected * DRIFT * DRIFT
        moved = moved and kind.age >= kind.patience
        if kind.age < kind.recheck and not moved:
            return
        self._settled = {key: value for key, value in self._settled.items() if value[1] is not kind}
        kind.age = 0
        if moved:
            kind.patience *= 2
            kind.search.arms.clear()
            kind.solo.arms.clear()
        else:
            kind.recheck *= 4
            kind.search.recheck()
            kind.solo.recheck()

    def _foreign(self, report: StepReport) -> None:
        """A time of one part measured elsewhere: it counts for every kind with that signature."""
        if report.split or report.num_tokens < 1:
            return
        arm = report.num_tokens.bit_length() - 1
        for (signature, size_class, workers), kind in self._kinds.items():
            if signature == report.signature and size_class > arm:
                kind.search.record(arm, report.seconds / report.num_tokens / workers)
        self._settled.clear()


def _range(request: SizingRequest) -> tuple[int, int, bool]:
    """Least and largest exponent that may be tried, and whether the whole batch may."""
    units = max(1, request.num_tokens)
    low = max((request.longest_request - 1).bit_length(), (units >> 14).bit_length())
    high = max(low, (-(-units // max(2, request.workers)) - 1).bit_length())
    bound = units if request.limit is None else request.limit
    if request.failed_at is not None:
        bound = min(bound, max(1, request.failed_at // 2))
    if bound < units:
        high = min(high, max(0, bound.bit_length() - 1))
        low = min(low, high)
    return low, high, bound >= units


def _tiny_and_short(search: SizeSearch, units: int) -> bool:
    return search.start == WHOLE and WHOLE in search.arms and search.value(WHOLE) * units < TINY_STEP


def _proposal(arm: int, request: SizingRequest, reason: str) -> Proposal:
    units = max(1, request.num_tokens)
    if arm == WHOLE:
        return Proposal(split=False, reason=reason)
    return Proposal(limit=_limit(arm, request, units), reason=reason)


def _proposal_alone(arm: int, request: SizingRequest, reason: str) -> Proposal:
    """Parts of that size one after another; their number need not be a multiple of the workers."""
    units = max(1, request.num_tokens)
    count = -(-units // (1 << arm))
    return Proposal(
        limit=min(units, max(-(-units // count), request.longest_request)), workers=1, reason=reason
    )


def _solo_arm(kind: _Kind, request: SizingRequest, low: int, high: int, whole: bool) -> int | None:
    """The size to try with one worker; steps too short to tell are left as they are."""
    if request.workers < 2 or not kind.search.arms or request.failed_at is not None:
        return None
    if min(map(kind.search.value, kind.search.arms)) * request.num_tokens < SHORT:
        return None
    return solo_arm(kind.search, kind.solo, low, high, whole=whole)


def _limit(arm: int, request: SizingRequest, units: int) -> int:
    """The size, lowered so that the number of parts is a multiple of the workers: none idles at the end."""
    count = -(-units // (1 << arm))
    if count > 1:
        count = -(-count // request.workers) * request.workers
    return min(units, max(-(-units // count), request.longest_request))


def _reason(search: SizeSearch, arm: int, unit: str, near: float) -> str:
    if arm == WHOLE:
        return "cutting gains less than 3 %"
    return f"{_name(arm, unit)} is the smallest size within {near:.0%} of the fastest of {len(search.arms)}"


def _name(arm: int, unit: str) -> str:
    what = "padded units" if unit == "cost" else unit
    return "the whole batch" if arm == WHOLE else f"about {1 << arm} {what}"
