"""Now and then a settled step gives way to one of another size, and the two times are set side by side.

Times of sizes that were measured one after another tell little where load comes and goes: a size that had a
quiet moment looks fast for ever. So each rival of the settled size is tried between two steps of that one,
and what counts is the ratio of its time to the quicker of them, as what disturbs a step only adds to it. The
median of three such ratios corrects what the search knew of the rival; the settled size is then chosen anew.

Invariant: all this costs at most `SPENT` of the steps and `FIRST_CREDIT` steps more, each time that a clearly
faster size is found, and less and less as none is. A rival costs what it is slower; close ones are tried
sooner, and one that seems faster at once.

Rejected: second and third times of the close sizes in the search; the close sizes once more after 64 steps; a
new search where the settled time has doubled. With load that doubles the time now and then, a fifth of drawn
works stayed 1.15 times or more off their best size, as load was taken for change, and the search began anew
in the middle of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from microbatch_policies.speed.constants import (
    FIRST_CREDIT,
    GAIN,
    LEAST_COST,
    RATIOS,
    SPENT,
    SPENT_LESS,
    SURE,
)

Rival = tuple[int | None, int]
"""Number of workers, None for all; and the arm."""


class Challenges:
    """What the rivals of one settled size took, as parts of its time."""

    def __init__(self) -> None:
        self._ratios: dict[Rival, list[float]] = {}
        self._tried: dict[Rival, int] = {}
        self._steps = 0
        self._credit = FIRST_CREDIT
        """Settled steps that may be spent."""
        self._needed = 0.0
        """The credit that the next rival takes."""
        self._before = 0.0
        """Seconds per unit of the last settled step."""
        self.usual = 0.0
        """The quicker one of the last two of them."""
        self._waiting: tuple[Rival, float] | None = None
        """The rival that ran last, and its seconds per unit: the next settled step is set beside it."""

    def settled_step(self, seconds_per_unit: float) -> tuple[Rival, float] | None:
        """Take note of a settled step; the rival that is surely known by now, and its median ratio."""
        self._steps += 1
        self._credit += min(SPENT, SPENT_LESS / self._steps)
        waiting, before = self._waiting, self._before
        self._waiting, self._before = None, seconds_per_unit
        self.usual = min(before or inf, seconds_per_unit)
        if waiting is None or not before:
            return None
        rival, seconds = waiting
        ratio = seconds / self.usual
        self._credit, self._needed = self._credit - max(ratio - 1, LEAST_COST), 0.0
        ratios = self._ratios[rival] = [*self._ratios.get(rival, ()), ratio][-RATIOS:]
        return (rival, _median(ratios)) if len(ratios) >= SURE else None

    def ran(self, rival: Rival, seconds_per_unit: float) -> None:
        """The step of a rival has ended."""
        self._tried[rival] = self._tried.get(rival, 0) + 1
        self._waiting = rival, seconds_per_unit

    @property
    def affordable(self) -> bool:
        """Whether `next_rival` is worth asking."""
        return self._needed <= self._credit

    def next_rival(self, known: Mapping[Rival, float]) -> Rival | None:
        """Whom to try now, if any: of `known` rivals with their time as a part of the settled one's."""
        if self._waiting is not None or not self._before:
            return None
        costs = {rival: self._cost(rival, told) for rival, told in known.items()}
        rival = min(costs, key=lambda one: costs[one] * (self._tried.get(one, 0) + 1), default=None)
        # a rival that was tried often must wait longer
        self._needed = inf if rival is None else costs[rival] * max(1, self._tried.get(rival, 0) - SURE + 2)
        return rival if self.affordable else None

    def settled_anew(self, *, faster: bool) -> None:
        """Another size has settled, and ratios are those to its time; where it is clearly faster, there may
        be more to find."""
        self._ratios.clear()
        self._waiting, self._before, self._needed = None, 0.0, 0.0
        if faster:
            self._steps, self._credit = 0, FIRST_CREDIT
            self._tried.clear()

    def _cost(self, rival: Rival, told: float) -> float:
        """The credit that a try takes, none where the rival seemed faster and that is not sure yet."""
        ratios = self._ratios.get(rival, [])
        ratio = _median(ratios) if ratios else told
        if 0 < len(ratios) < SURE and ratio * GAIN < 1:
            return min(self._credit, 0.0)
        return max(ratio - 1, LEAST_COST)


def _median(ratios: list[float]) -> float:
    """The upper one of two; `statistics` takes 6 ms, which `import microbatch` need not take."""
    return sorted(ratios)[len(ratios) // 2]
