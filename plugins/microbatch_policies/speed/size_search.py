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
        self._told: set[int] = set()

    def tell(self, arm: int, seconds_per_unit: float) -> None:
        """Add a time that was measured elsewhere: a hint, until the arm is measured here."""
        if arm not in self.arms or arm in self._told:
            self.arms[arm] = [min([seconds_per_unit, *self.arms.get(arm, ())])]
            self._told.add(arm)

    def record(self, arm: int, seconds_per_unit: float, steady: float | None = None) -> None:
        """Add a measurement; `steady` is what it would have been without its slow parts."""
        before = () if arm in self._told else self.arms.get(arm, ())
        self._told.discard(arm)
        self.arms[arm] = [*before, seconds_per_unit][-tuned.KEPT :]
        self._hopes[arm] = seconds_per_unit if steady is None else steady

    def at_best(self, arm: int) -> float:
        """Seconds per unit that it may take in truth: without its slow parts, where it was measured once."""
        value = self.value(arm)
        return min(value, self._hopes.get(arm, value)) if len(self.arms[arm]) == 1 else value

    def hopeful(self, arm: int, best: float) -> bool:
        """Whether the only time of `arm` is slower than `best`, and would not be without its slow parts."""
        return len(self.arms[arm]) == 1 and self._hopes.get(arm, best) < best < self.value(arm)

    def doubtful(self, arm: int, best: float) -> bool:
        """Whether the only time of `arm` is slower than `best` perhaps because it was the first one: then a
        second time settles it."""
        value = self.value(arm)
        uneven = len(self.arms[arm]) == 1 and self._hopes.get(arm, value) * tuned.UNEVEN < value
        return self.hopeful(arm, best) or (uneven and value <= tuned.COLD * best)

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

    def next_arm(self, allowed: Allowed, units: int) -> int | None:
        """The arm to measure next for a batch of `units`, or None when enough is known."""
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
        chosen = self.choice(allowed)
        return chosen if chosen in self._told and not self.refused(chosen) else None

    def choice(self, allowed: Allowed, near: float = tuned.NEAR) -> int | None:
        """The arm to settle on among those measured, or None if none of them may run.

        That is the smallest size whose time is at most `near` (a fraction) above the best; the whole batch,
        unless cutting gains enough.
        """
        parts = allowed.sizes(self.arms)
        if not parts:
            return WHOLE if allowed.whole and WHOLE in self.arms else None
        best = min(map(self.value, parts))
        if allowed.whole and WHOLE in self.arms and self.value(WHOLE) <= best * tuned.CUT_GAIN:
            return WHOLE
        return min(arm for arm in parts if self.value(arm) <= best * (1 + near))

    def correct(self, arm: int, seconds_per_unit: float) -> None:
        """Put this in the place of all its times."""
        self.arms[arm] = [seconds_per_unit]
        self._told.discard(arm)
        self._hopes.pop(arm, None)

    def as_json(self) -> dict[str, Any]:
        """Start and least times."""
        return {"start": self.start, "arms": {str(arm): self.value(arm) for arm in self.arms}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SizeSearch:
        """Raises ValueError, KeyError or TypeError for anything that `as_json` did not make."""
        search = cls(_exponent(data["start"]))
        for arm, value in data["arms"].items():
            search.tell(_exponent(int(arm)), real(value, SHORTEST, LONGEST))
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


def _exponent(value: object) -> int:
    if type(value) is not int or not (0 <= value <= 62 or value in (PACED, WHOLE)):
        raise ValueError(f"{shown(value)} is not a size")
    return value
