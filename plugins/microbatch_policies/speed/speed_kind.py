"""What the search for speed knows of one kind of batch, and whether its time changes once it has settled.

Invariant: the times of a settled size are measured again after fixed numbers of steps, and at once when they
have moved for good. The noise of one step moves nothing.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from microbatch.extend.records import SizingRequest, StepReport
from microbatch_policies.speed.arms import PACED, WHOLE, Allowed, allowed_arms, is_paced
from microbatch_policies.speed.constants import (
    CLOSE,
    COLD,
    DRIFT,
    GAIN,
    PATIENCE,
    RECENT,
    RECHECK,
    SHORT,
    STRIDE,
    TINY_STEP,
    WARM,
)
from microbatch_policies.speed.fewer_workers import fewer_win, ladder, next_fewer
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
        self._recent = 0.0
        self._age = 0
        self._recheck = RECHECK
        self._patience = PATIENCE

    def allowed(self, request: SizingRequest) -> Allowed:
        """What may be tried; at first only parts whose sizes follow their times, where these may."""
        if self.search.start == PACED and not is_paced(request):
            size = start_size(request)
            self._begin_at(WHOLE if size is None else size.bit_length() - 1)
        return allowed_arms(request, paced=self._paced() and is_paced(request))

    def next_arm(self, units: int, workers: int, allowed: Allowed) -> tuple[int | None, int | None]:
        """What to measure next, None once enough is known; and with how many workers, None for all.

        The first call is cold and teaches nothing, so where times are known from elsewhere it has the fastest
        of those sizes.
        """
        search = self.search
        if allowed.low == PACED:
            return PACED, None
        if self._found:
            allowed = replace(allowed, whole=allowed.whole and self._whole_may_win(allowed, workers))
        if not self._calls and search.arms:
            known = search.choice(allowed, near=0.0)
            if known is not None and not search.refused(known):
                return known, None
        if search.start == WHOLE and WHOLE in search.arms and search.value(WHOLE) * units < TINY_STEP:
            return None, None
        arm = search.next_arm(allowed, units, repeat=False)
        # steps too short to tell are left to all workers
        if arm is None and search.arms and min(map(search.value, search.arms)) * units >= SHORT:
            fewer = next_fewer(search, self.fewer, workers, allowed)
            if fewer is not None:
                return fewer[1], fewer[0]
        if arm is None and not fewer_win(search, self.fewer, allowed):
            arm = search.next_arm(allowed, units)
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
        search = self.search if fewer is None else self.fewer[fewer]
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
        if self._calls > 1 or report.seconds >= WARM:
            units = max(1, report.num_tokens)
            search.record(arm, report.seconds / units, steady_seconds(report) / units)

    def told(self, arm: int, seconds_per_unit: float, workers: int) -> None:
        """Take the time of one part that was measured elsewhere."""
        self.search.record(arm, seconds_per_unit / workers)

    def settle(self, seconds_per_unit: float) -> None:
        """The search has ended with a size that takes so long."""
        self.expected = self._recent = seconds_per_unit
        self._age = 0

    def look(self, seconds_per_unit: float) -> bool:
        """Take note of a settled step: whether all is as it was. If not, its times are measured again."""
        self._age += 1
        self._recent += RECENT * (seconds_per_unit - self._recent)
        # outside 1 / DRIFT to DRIFT times the settled time
        moved = not self.expected <= self._recent * DRIFT <= self.expected * DRIFT * DRIFT
        if moved and self._age >= self._patience:
            self._start_again()
        elif self._age >= self._recheck:
            self._recheck_contenders()
        else:
            return True
        return False

    def _start_again(self) -> None:
        """Forget the times: they hold no more."""
        self._age = 0
        self._patience *= 2
        if self._found:
            self._begin_at(PACED)
        for search in (self.search, *self.fewer.values()):
            search.forget()

    def _recheck_contenders(self) -> None:
        """Have the close sizes measured once more.

        From the second time on this holds also for each number of workers that was slower than all of them,
        though by less than four times. Its only time may have been a bad one, and one such step in 256 costs
        at most 1.6 %.
        """
        again, self._recheck, self._age = self._recheck > RECHECK, self._recheck * 4, 0
        self.search.recheck()
        for fewer in self.fewer.values():
            slower = min(map(fewer.value, fewer.arms), default=0.0) / self.expected
            if again and 1 < slower < COLD:
                fewer.forget()
            else:
                fewer.recheck()

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
