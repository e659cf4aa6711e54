"""`latency`: the largest size whose ubatches finish within a deadline.

Fits t = t0 + t1 n to the seconds of single ubatches and keeps 8 % of the deadline free, as Clipper does, plus
what recent ubatches took beyond the fit. Invariant: two different sizes were measured before a slope is
believed (with one, BentoML's fit puts all time on it); a tighter deadline never gives a larger size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.kept import KINDS, SHORTEST, OwnState, real, remember, state_of
from microbatch_policies.memory.least_squares import LeastSquares, largest_within, quantile
from microbatch_policies.option_checks import number

USED = 0.92
"""Part of the deadline that is planned with."""
FIRST_PARTS = 16
"""Parts of the first step of a kind."""
GROWTH = 4
"""Largest factor by which a size may exceed all that were measured."""
EXCESSES = 64
"""Excesses over the fit kept for the quantile."""
LONGEST = 1e9
"""Largest deadline in seconds."""
RISK = 0.05
"""Chance that the time of a ubatch exceeds the bound of the fit; only its value is used."""
FORGETTING = 0.98
"""How fast older times fade per new one."""
HIGH = 0.95
"""Quantile of the excesses that is added to the fit."""


class _Kind:
    """The times of one signature: their fit, how far they went beyond it, and the slowest."""

    def __init__(self) -> None:
        self.model = LeastSquares(FORGETTING)
        self.excesses: list[float] = []
        self.slowest = 0.0

    def learn(self, size: int, seconds: float) -> None:
        """A ubatch of that size took so long."""
        if self.model.ready:
            excess = seconds - self.model.fit(RISK).value(size, 0)
            self.excesses = [*self.excesses, max(0.0, excess)][-EXCESSES:]
        self.model.add(size, 0, seconds)
        self.slowest = max(self.slowest, seconds)

    def largest(self, budget: float, total: int) -> int:
        """The largest size up to `total` that takes at most `budget` seconds."""
        seen = self.model.xs[1]
        if not self.model.ready:
            grown = int(seen * min(float(GROWTH), budget / self.slowest))
            return max(1, seen // 2) if grown == seen < total else grown
        excess = quantile(self.excesses, HIGH) if self.excesses else 0.0
        fit = self.model.fit(RISK)
        return largest_within(budget - excess, min(total, seen * GROWTH), lambda size: fit.value(size, 0))

    def as_json(self) -> dict[str, Any]:
        """Sums, excesses and the slowest time."""
        return {"model": self.model.as_json(), "excesses": list(self.excesses), "slowest": self.slowest}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> _Kind:
        """Four times as unsure as it was; raises ValueError, KeyError or TypeError for foreign data."""
        kind = cls()
        kind.model = LeastSquares.from_json(data["model"], FORGETTING)
        kind.model.widen()
        kind.excesses = [real(value, 0.0, LONGEST) for value in data["excesses"][-EXCESSES:]]
        kind.slowest = real(data["slowest"], SHORTEST, LONGEST)
        return kind


class Latency:
    """Keeps each ubatch within `deadline` seconds."""

    def __init__(self, deadline: float = 0.1) -> None:
        self._deadline = number("latency", "deadline", deadline, LONGEST)
        self._kinds: dict[str, _Kind] = {}

    def propose(self, request: SizingRequest) -> Proposal:
        """The largest size within the deadline; a sixteenth of the batch before anything was measured."""
        total = max(1, request.num_tokens)
        kind = self._kinds.get(request.signature)
        if kind is None or not kind.model.count:
            return Proposal(limit=-(-total // FIRST_PARTS), reason="measuring the first ubatches")
        size = max(1, min(total, kind.largest(self._deadline * USED, total)))
        return Proposal(limit=size, reason=f"at most {self._deadline:g} s each", hard=True)

    def observe(self, report: StepReport) -> None:
        """Learn from the ubatches of a clean step: of all sizes in it, the slowest of each."""
        if report.failure is not None or report.oom_sizes or report.calibration:
            return
        slowest: dict[int, float] = {}
        times = report.ubatch_seconds or (report.seconds,)
        for size, seconds in zip(report.sizes, times, strict=False):
            if size > 0 and seconds > 0:
                slowest[size] = max(slowest.get(size, 0.0), seconds)
        if slowest:
            kind = self._kinds.get(report.signature) or remember(self._kinds, report.signature, _Kind())
            for size, seconds in slowest.items():
                kind.learn(size, seconds)

    def state(self) -> Mapping[str, Any]:
        """The sums of each signature."""
        return state_of("latency", kinds={key: kind.as_json() for key, kind in self._kinds.items()})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take them back, four times as unsure. Raises ValueError, nothing changed, for foreign state."""
        with OwnState("latency", state):
            kinds = list(state["kinds"].items())[-KINDS:]
            self._kinds = {str(key): _Kind.from_json(data) for key, data in kinds}
