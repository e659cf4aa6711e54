"""What is known of one kind of batch: what its search has found, and how its rivals do once it has settled.

Invariant: what the search found holds until rivals were set beside it (`challenges.py`). The noise of one
step moves nothing.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from microbatch.extend.records import SizingRequest, StepReport
from microbatch_policies.speed.arms import PACED, WHOLE, Allowed, allowed_arms, is_paced
from microbatch_policies.speed.challenges import Challenges, Rival
from microbatch_policies.speed.constants import (
    CLOSE,
    GAIN,
    NEIGHBOUR,
    PROMISING,
    SHORT,
    STRIDE,
    TINY_STEP,
    WARM,
)
from microbatch_policies.speed.fewer_workers import ladder, next_fewer
from microbatch_policies.speed.first_size import start_size
from microbatch_policies.speed.paced_sizes import found_size
from microbatch_policies.speed.size_search import SizeSearch
from microbatch_policies.speed.steady_seconds import steady_seconds


class SpeedKind:
    """One kind of batch: its search with all `workers`, and those with fewer of them."""

    def __init__(self, start: int, workers: int, *, few: bool = False) -> None:
        """`few` says that the first call of each size is slow, as the function is compiled for it."""
        self._compiled: set[int] | None = set() if few else None
        """Sizes that the function was compiled for; None where it is not compiled."""
        self.search = SizeSearch(start)
        self.fewer = {count: SizeSearch(start) for count in ladder(workers)}
        self._found = False
        """Whether the search began with a size that a step had found while it ran."""
        self._calls = 0
        self.expected = 0.0
        self.settled: Rival | None = None
        """The settled arm, and its workers."""
        self._challenges = Challenges()
        self._scale = 1.0
        """What times are multiplied with, so that the settled size takes what was `expected`, whatever load
        there is now."""
        self.challenged: Rival | None = None
        """The rival that runs in this step."""
        self._allowed = Allowed(low=0, high=0, whole=False)
        """What the last step that was asked for may run."""

    def allowed(self, request: SizingRequest) -> Allowed:
        """What may be tried; at first only parts whose sizes follow their times, where these may."""
        if self.search.start == PACED and not is_paced(request):
            size = start_size(request)
            self._begin_at(WHOLE if size is None else size.bit_length() - 1)
        return allowed_arms(request, paced=self._paced() and is_paced(request))

    def next_arm(self, units: int, workers: int, allowed: Allowed) -> tuple[int | None, int | None]:
        """What to measure next, None where nothing is; and with how many workers, None for all."""
        self.challenged, self._allowed = None, allowed
        if allowed.low == PACED:
            return PACED, None
        arm, fewer = self._searched(units, workers, allowed)
        if arm is None:
            self.challenged = self._challenges.next_rival(self._rivals())
            fewer, arm = self.challenged or (None, None)
        return arm, fewer

    def _searched(self, units: int, workers: int, allowed: Allowed) -> tuple[int | None, int | None]:
        """The same while the search lasts.

        The first call is cold and teaches nothing, so where times are known from elsewhere it has the fastest
        of those sizes.
        """
        search = self.search
        if self._found:
            allowed = replace(allowed, whole=allowed.whole and self._whole_may_win(allowed, workers))
        if not self._calls and search.arms:
            known = search.choice(allowed, near=0.0)
            if known is not None and not search.refused(known):
                return known, None
        if search.start == WHOLE and WHOLE in search.arms and search.value(WHOLE) * units < TINY_STEP:
            return None, None
        arm = search.next_arm(allowed, units)
        # steps too short to tell are left to all workers
        if arm is None and search.arms and min(map(search.value, search.arms)) * units >= SHORT:
            fewer = next_fewer(search, self.fewer, workers, allowed)
            return (None, None) if fewer is None else (fewer[1], fewer[0])
        return arm, None

    def _whole_may_win(self, allowed: Allowed, workers: int) -> bool:
        """Whether the whole batch may be faster than parts of a size that was found good.

        It is the largest part that one worker may have, with all of the framework's threads: where one worker
        is clearly slower than all of them, or slower with larger parts, so is that. It takes as long as many
        steps then: 40 times at the curve of sockeye#940.
        """
        single = self.search if workers == 1 else self.fewer[1]
        alone, parts = allowed.sizes(single.arms), allowed.sizes(self.search.arms)
        if not alone or not parts:
            return False
        least = min(map(single.value, alone))
        all_workers = min(map(self.search.value, parts))
        larger = [single.value(arm) for arm in alone if arm > min(alone, key=single.value)]
        return least <= CLOSE * all_workers and (not larger or min(larger) <= GAIN * least)

    def _paced(self) -> bool:
        """Whether the size at which the search begins is still to be found."""
        return self.search.start == PACED and not self.search.arms

    def _begin_at(self, arm: int, stride: int = STRIDE) -> None:
        """Begin the search with this size, by such strides: short ones where it is a good one already."""
        for search in (self.search, *self.fewer.values()):
            search.start, search.stride = arm, stride

    def learn(self, arm: int, fewer: int | None, limit: int | None, report: StepReport) -> None:
        """Record the time of the arm, or that another size than `limit` or more workers than `fewer` ran."""
        if arm == PACED:
            found = found_size(report)
            self._calls += 1
            if found is not None:
                self._found = True
                self._begin_at(found, stride=1)
            return
        search = self._search(fewer)
        too_many = fewer is not None and report.workers > fewer
        if self._compiled is not None and report.split and max(report.sizes) >> arm != 1:
            search.refuse(arm, for_good=True)  # it has few sizes, and this one was not made
            return
        if too_many or _other_than_asked(arm, limit, report):
            search.refuse(arm)
            return
        if self._compiled is not None and arm not in self._compiled:
            self._compiled.add(arm)
            self._calls += 1
            return
        self._calls += 1
        if self.challenged == (fewer, arm):
            self._challenges.ran((fewer, arm), report.seconds / max(1, report.num_tokens))
            return
        if self._calls > 1 or report.seconds >= WARM:
            units = max(1, report.num_tokens) / self._scale
            search.record(arm, report.seconds / units, steady_seconds(report) / units)

    def told(self, arm: int, seconds_per_unit: float, workers: int) -> None:
        """Take the time of one part that was measured elsewhere."""
        self.search.tell(arm, seconds_per_unit / workers)

    def settle(self, arm: int, fewer: int | None, seconds_per_unit: float) -> None:
        """The search has ended with this arm on so many workers, None for all, which takes so long."""
        if self.settled != (fewer, arm):
            self.settled = fewer, arm
            self._challenges.settled_anew(faster=seconds_per_unit * PROMISING < self.expected)
        self.expected = seconds_per_unit

    def look(self, seconds: float, units: int) -> bool:
        """Take note of a settled step: whether the next one is as settled."""
        if self.settled is None or seconds < SHORT:
            return True
        known = self._challenges.settled_step(seconds / max(1, units))
        self._scale = self.expected / self._challenges.usual
        if known is not None:
            (fewer, arm), ratio = known
            self._search(fewer).correct(arm, ratio * self.expected)
            return False
        return not self._challenges.affordable or self._challenges.next_rival(self._rivals()) is None

    def _rivals(self) -> dict[Rival, float]:
        """What was measured and the sizes next to the fastest one, as far as they may run, with their time as
        a part of the settled one's."""
        if self.settled is None:
            return {}
        found: dict[Rival, float] = dict.fromkeys(self._neighbours(self.settled[0]), NEIGHBOUR)
        for count, search in (None, self.search), *self.fewer.items():
            found |= {(count, arm): search.at_best(arm) / self.expected for arm in search.arms}
        return {rival: ratio for rival, ratio in found.items() if self._may_run(rival)}

    def _neighbours(self, fewer: int | None) -> list[Rival]:
        """The sizes next to the fastest one on so many workers; none where each size is compiled for."""
        search = self._search(fewer)
        arms = self._allowed.sizes(search.arms)
        if not arms or self._compiled is not None:
            return []
        best = min(arms, key=search.value)
        return [(fewer, best - 1), (fewer, best + 1)]

    def _may_run(self, rival: Rival) -> bool:
        fewer, arm = rival
        allowed = self._allowed.whole if arm == WHOLE else self._allowed.low <= arm <= self._allowed.high
        return allowed and rival != self.settled and not self._search(fewer).refused(arm)

    def _search(self, fewer: int | None) -> SizeSearch:
        return self.search if fewer is None else self.fewer[fewer]

    def as_json(self) -> list[Any]:
        """The search, and a search for each smaller number of workers."""
        fewer = [[count, search.as_json()] for count, search in self.fewer.items()]
        return [self.search.as_json(), fewer]

    @classmethod
    def from_json(cls, data: list[Any], workers: int) -> SpeedKind:
        """Raises ValueError, KeyError or TypeError for anything that `as_json` did not make."""
        search, *rest = data
        fewer = {count: SizeSearch.from_json(one) for count, one in (rest[0] if rest else [])}
        if not set(fewer) <= set(ladder(workers)):
            raise ValueError(f"{sorted(fewer)!r} are not numbers of workers below {workers}")
        made = cls(search["start"], workers)
        made.search = SizeSearch.from_json(search)
        made.fewer |= fewer
        return made


def _other_than_asked(arm: int, limit: int | None, report: StepReport) -> bool:
    """Whether the step ran with other parts than those that were to be measured."""
    return (report.limit if report.split else None) != (None if arm == WHOLE else limit)
