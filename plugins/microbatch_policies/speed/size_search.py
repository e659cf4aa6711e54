"""Find the smallest size within 5 % of the fastest, on a grid of powers of two, from few measurements.

Seconds per unit first fall with the size (each part has a fixed cost), then are flat, and then rise (caches
are too small), so at most 8 sizes need to be measured. The whole batch is an arm of its own: it runs without
a schedule, so the times of parts do not tell its time.

Invariant: `choice` names only arms that were measured. Rejected: golden section that keeps what it once
compared (one noisy comparison throws the best half away for good), bandits (they never stop paying for bad
arms).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.options.messages import shown
from microbatch_policies.kept import LONGEST, SHORTEST, real
from microbatch_policies.speed import constants as tuned
from microbatch_policies.speed.arms import PACED, WHOLE, Allowed, beside
from microbatch_policies.speed.unimodal_search import next_exponent


class SizeSearch:
    """What is known of one kind of batch. Arms are exponents of two, or WHOLE; values, seconds per unit."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.stride = tuned.STRIDE
        """Doublings to the next size on a side where nothing is known."""
        self.arms: dict[int, list[float]] = {}
        self._bad: dict[int, int] = {}
        self._hopes: dict[int, float] = {}

    def record(self, arm: int, seconds_per_unit: float, steady: float | None = None) -> None:
        """Add a measurement; `steady` is what it would have been without its slow parts."""
        self.arms[arm] = [*self.arms.get(arm, ()), seconds_per_unit][-tuned.KEPT :]
        self._hopes[arm] = seconds_per_unit if steady is None else steady

    def hopeful(self, arm: int, best: float) -> bool:
        """Whether the only time of `arm` is slower than `best`, and would not be without its slow parts."""
        return len(self.arms[arm]) == 1 and self._hopes.get(arm, best) < best < self.value(arm)

    def doubtful(self, arm: int, best: float) -> bool:
        """Whether the only time of `arm` is slower than `best` perhaps because it was the first one: then a
        second time settles it."""
        value = self.value(arm)
        uneven = len(self.arms[arm]) == 1 and self._hopes.get(arm, value) * tuned.UNEVEN < value
        return self.hopeful(arm, best) or (uneven and value <= tuned.COLD * best)

    def forget(self) -> None:
        """Measure all of it anew."""
        self.arms.clear()
        self._hopes.clear()

    def refuse(self, arm: int, *, for_good: bool = False) -> None:
        """Note that the arm was asked for and another size ran (a memory bound lowered it). After the second
        time it is not asked for again, and after the first one where that is `for_good`."""
        self._bad[arm] = self._bad.get(arm, 0) + (2 if for_good else 1)

    def refused(self, arm: int) -> bool:
        """Whether it was asked for in vain too often."""
        return self._bad.get(arm, 0) > 1

    def value(self, arm: int) -> float:
        """Seconds per unit: the least of its times, since what disturbs a measurement only adds to it."""
        return min(self.arms[arm])

    def next_arm(self, allowed: Allowed, units: int, *, repeat: bool = True) -> int | None:
        """The arm to measure next for a batch of `units`, or None when enough is known.

        `repeat` says whether contenders that were measured only once are measured again.
        """
        try_whole = allowed.whole and WHOLE not in self.arms and not self.refused(WHOLE)
        if self.start == WHOLE and try_whole:
            return WHOLE
        short = bool(self.arms) and min(map(self.value, self.arms)) * units < tuned.SHORT
        for find in () if short else (self._explore, self.second_chance):
            arm = find(allowed)
            if arm is not None:
                return arm
        if try_whole and self._whole_may_win(allowed):
            return WHOLE if short else self._on_the_way(allowed)
        return self._again(allowed) if repeat else None

    def choice(self, allowed: Allowed, near: float = tuned.NEAR) -> int | None:
        """The arm to settle on among those measured, or None if none of them may run.

        That is the smallest size whose time is at most `near` (a fraction) above the best. The whole batch is
        compared with the median time of the best size, not its least: threads side by side are now and then
        slow, and to cut for nothing is the worse mistake.
        """
        parts = allowed.sizes(self.arms)
        if not parts:
            return WHOLE if allowed.whole and WHOLE in self.arms else None
        best = min(map(self.value, parts))
        from statistics import median  # 6 ms, which `import microbatch` need not take

        rival = median(self.arms[min(parts, key=self.value)])
        if allowed.whole and WHOLE in self.arms and self.value(WHOLE) <= rival * tuned.CUT_GAIN:
            return WHOLE
        return min(arm for arm in parts if self.value(arm) <= best * (1 + near))

    def recheck(self) -> None:
        """Have the close contenders measured once more."""
        self.arms = {arm: samples[-1:] for arm, samples in self.arms.items()}
        self._hopes.clear()

    def as_json(self) -> dict[str, Any]:
        """Start and least times; samples are not kept, so that a loaded arm is measured again."""
        return {"start": self.start, "arms": {str(arm): self.value(arm) for arm in self.arms}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SizeSearch:
        """Raises ValueError, KeyError or TypeError for anything that `as_json` did not make."""
        search = cls(_exponent(data["start"]))
        for arm, value in data["arms"].items():
            search.record(_exponent(int(arm)), real(value, SHORTEST, LONGEST))
        return search

    def _explore(self, allowed: Allowed) -> int | None:
        """The next size of the search, None once the best has a worse one on both sides."""
        if allowed.sizes(self.arms):
            seconds = {arm: self.value(arm) for arm in self.arms}
            return next_exponent(seconds, allowed, self.refused, self.stride)
        first = min(max(self.start, allowed.low), allowed.high)  # WHOLE is above `high`
        return None if self.refused(first) else first

    def second_chance(self, allowed: Allowed) -> int | None:
        """A size next to the best whose only time may have been cold. If it is the faster one in truth, so
        may be those beyond it, which the search would never measure."""
        parts = sorted(allowed.sizes(self.arms))
        if not parts:
            return None
        best = min(parts, key=self.value)
        cold = [arm for arm in beside(parts, best) if self.hopeful(arm, self.value(best))]
        return next((arm for arm in cold if not self.refused(arm)), None)

    def _whole_may_win(self, allowed: Allowed) -> bool:
        parts = [arm for arm in self.arms if arm <= allowed.high]
        return not parts or self.value(max(parts)) <= tuned.HOPE * min(map(self.value, parts))

    def _on_the_way(self, allowed: Allowed) -> int:
        """WHOLE; but where all measured sizes are far smaller, a size between first. The whole batch may need
        many times their memory, and if the larger part is slow already, it need not be tried."""
        largest = max(allowed.sizes(self.arms), default=allowed.high)
        middle = (largest + allowed.high + 1) // 2
        return WHOLE if allowed.high - largest < tuned.FAR or self.refused(middle) else middle

    def _again(self, allowed: Allowed) -> int | None:
        """A contender that was measured only once, or twice where parts and the whole batch are close."""
        parts, tried_whole = allowed.sizes(self.arms), allowed.whole and WHOLE in self.arms
        contenders = sorted([*parts, WHOLE] if tried_whole else parts, key=self.value)
        if len(contenders) < 2:
            return None
        rivals = self._rivals(min(parts, key=self.value)) if tried_whole else ()
        for arm in contenders:
            factor = tuned.SECOND_CHANCE if arm == WHOLE else tuned.CLOSE
            close = self.value(arm) <= self.value(contenders[0]) * factor
            if close and len(self.arms[arm]) < (3 if arm in rivals else 2) and not self.refused(arm):
                return arm
        return None

    def _rivals(self, best: int) -> tuple[int, ...]:
        """The best size and the whole batch, where they are close: they are measured three times."""
        low, high = sorted((self.value(best), self.value(WHOLE)))
        return (best, WHOLE) if high <= tuned.CLOSE * low else ()


def _exponent(value: object) -> int:
    if type(value) is not int or not (0 <= value <= 62 or value in (PACED, WHOLE)):
        raise ValueError(f"{shown(value)} is not a size")
    return value
