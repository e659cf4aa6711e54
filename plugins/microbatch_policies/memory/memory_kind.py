"""What the memory model knows of one signature: the fit, how it missed, what ran and what failed.

Invariant: no answer exceeds what the fit's own bound allows, nor 8 times what ever ran (unless even quadratic
growth from there would fit). Before two sizes were seen a slope means nothing: peaks are then taken to grow
in proportion, which is too much for every function that has a fixed cost, and so is safe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from microbatch_policies.kept import MOST_BYTES, MOST_UNITS, real, whole
from microbatch_policies.memory import constants as tuned
from microbatch_policies.memory.bracket import Bracket
from microbatch_policies.memory.least_squares import Fit, LeastSquares, quantile


class MemoryKind:
    """One signature. Sizes `x` are units in flight at the same time; `total` are units of the whole batch."""

    def __init__(self, risk: float, forgetting: float) -> None:
        self._risk = risk
        self._forgetting = forgetting
        self.model = LeastSquares(forgetting)
        self.bracket = Bracket()
        self.ran = 0
        """The largest size that ran."""
        self.mark: tuple[int, int, int] = (0, 0, 0)
        """Size, batch and highest mark of the step that last raised the mark of a device."""
        self._fit: Fit | None = None
        self._needs: dict[int, float] = {}  # by units of the batch, until it may answer otherwise
        self._misses: list[float] = []
        self._peak = 0.0  # the highest peak, fading
        self._seen = (0, 0, 0.0)  # the largest size whose peak was seen, its batch, and that peak
        self._silent = 0  # steps since a peak was seen
        self._since = 0  # peaks since the model was solved

    def note(self, x: int) -> None:
        """Size `x` ran."""
        self.bracket.fit(x)
        self._silent += 1
        if x > self.ran:
            self.ran = x
            self._needs.clear()

    def learn(self, x: int, total: int, peak: float) -> None:
        """Size `x` needed `peak` > 0 bytes."""
        fit, expected = self.fit, False
        if fit is not None:
            value = max(fit.value(x, total), 1.0)
            self._misses = [*self._misses, peak / value - 1.0][-tuned.MISSES :]
            expected = 0.9 * value <= peak <= fit.bound(x, total)
        self.model.add(x, total, peak)
        self._silent = 0
        if x >= self._seen[0]:
            faded = self._forgetting * self._seen[2] if x == self._seen[0] else 0.0
            self._seen = (x, total, max(peak, faded))
        self._peak = max(self._peak * self._forgetting, peak)
        self._since += 1
        if not expected or self._since > 3 or self.model.count < tuned.SETTLED:
            self._fit, self._since = None, 0
            self._needs.clear()

    @property
    def fit(self) -> Fit | None:
        """The solved model, None before two sizes were seen."""
        if self._fit is None and self.model.ready:
            self._fit = self.model.fit(self._risk)
        return self._fit

    def largest(self, budget: float, total: int, bytes_per_unit: int, *, probe: bool = False) -> int:
        """The largest size up to `total` that fits `budget` bytes; at least 1.

        With `probe` a failure can be tried again, so a size may be tried that is not known to fit.
        """
        if not self.model.count:
            per_unit = self._assumed(bytes_per_unit)
            return max(1, min(total, int(budget // per_unit))) if per_unit else total
        fit = self.fit
        if fit is None:
            return self._from_one(budget, total, probe)
        if probe and self.model.count < tuned.EARLY:
            fit = self.model.fit(max(self._risk, tuned.EARLY_RISK))
        size = fit.largest(budget, total, min(total, self._trusted(budget)))
        margin = self._margin(fit, size, total)
        size = fit.largest(budget - margin, total, size) if margin and size else size
        spare = tuned.SPARE_TRIED if probe else tuned.SPARE
        seen = max(self._ran_with_room(budget / spare, total), self._one_size_down(budget))
        return max(1, size, min(total, seen))

    def need(self, total: int, bytes_per_unit: int) -> float:
        """Bytes from which on the whole batch is known to fit: `largest`, solved for the budget."""
        if total not in self._needs:
            if len(self._needs) >= tuned.NEEDS:
                self._needs.clear()
            self._needs[total] = self._need(total, bytes_per_unit)
        return self._needs[total]

    def _need(self, total: int, bytes_per_unit: int) -> float:
        if not self.model.count:
            return float(total * self._assumed(bytes_per_unit))
        ratio = total / max(1, self.model.xs[1])
        # Beyond what was seen, peaks are taken to grow in proportion, from TRUST times that on as the square.
        beyond = self._peak * max(1.0, ratio if ratio <= tuned.TRUST else ratio * ratio)
        fit = self.fit
        if fit is None:
            return beyond
        bound = fit.bound(total, total) + self._margin(fit, total, total)
        return bound if ratio <= tuned.TRUST else max(bound, beyond)

    def _assumed(self, bytes_per_unit: int) -> int:
        """Bytes that a unit is taken to need before a peak was seen."""
        return bytes_per_unit * (tuned.UNMEASURED if self.ran else tuned.UNSEEN)

    def _ran_with_room(self, budget: float, total: int) -> int:
        """The largest size seen, if its own peak is within `budget`; 0 if not.

        A batch that runs whole is not gathered, so its peak is below the line of all others, and the fit is
        unsure of everything because of it.
        """
        x, seen_total, peak = self._seen
        return x if peak > 0 and total <= seen_total and peak <= budget else 0

    def _one_size_down(self, budget: float) -> int:
        """A smaller size to try where all sizes seen are close together; 0 where they are not.

        A fit through sizes 28 and 29 is so unsure of its slope that not even one row fits. Steps of one row
        would then go on for ever: a smaller size often shows no peak, since a mark of the highest memory does
        not rise again. So half of the smallest size is taken, or less where so much less memory is left.
        """
        least, most = self.model.xs
        if most >= tuned.SPREAD * least or self._peak <= 0:
            return 0
        return min(least // 2, int(most * budget / self._peak))

    def _from_one(self, budget: float, total: int, probe: bool) -> int:
        """The next size where peaks of one size only were seen, so that the slope is not known.

        Peaks are taken to grow in proportion to the size. If that allows no larger size, a second size must
        be run to show the slope. A smaller one cannot fail. A larger one is tried instead where a failure can
        be tried again, and a smaller size is no help: there is hardly one, or the last steps showed no peak,
        as on a device whose reading has only a mark of the highest memory.
        """
        x = self.model.xs[1]
        if self._peak > budget:
            return max(1, min(total, x // 2))
        grown = budget / self._peak
        size = min(total, int(x * grown) if grown <= tuned.TRUST else self._trusted(budget))
        if size > x or x >= total:
            return size
        up = probe and (x < 4 or self._silent)
        return min(total, x + max(1, x // 8)) if up else max(1, x // 2)

    def _trusted(self, budget: float) -> int:
        """The largest size for which a prediction is believed: `TRUST` times what was seen, or more where
        even peaks that grow with the square of the size would be within the budget."""
        # a factor just above 1, since the root may be rounded down
        square = math.sqrt(max(budget, 0.0) / max(self._peak, 1.0)) * (1 + 1e-12)
        return int(self.model.xs[1] * max(float(tuned.TRUST), square))

    def _margin(self, fit: Fit, x: int, total: int) -> float:
        """Bytes by which recent peaks went beyond the prediction, where that is more than the bound has."""
        worst = quantile(self._misses, 0.95) if len(self._misses) >= 4 else 0.0
        if worst <= 0:
            return 0.0
        value = fit.value(x, total)
        return max(0.0, worst * value - (fit.bound(x, total) - value))

    def as_json(self) -> dict[str, Any]:
        """Sums, misses, and what fits."""
        seen = {"misses": list(self._misses), "peak": self._peak, "ran": self.ran}
        return {"model": self.model.as_json(), "fits": self.bracket.fits, **seen}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], risk: float, forgetting: float) -> MemoryKind:
        """Four times as unsure as it was; raises ValueError, KeyError or TypeError for foreign data."""
        made = cls(risk, forgetting)
        made.model = LeastSquares.from_json(data["model"], forgetting)
        made.model.widen()
        made._misses = [real(value, -1.0, MOST_BYTES) for value in data["misses"][-tuned.MISSES :]]
        made._peak = real(data["peak"], 1.0 if made.model.count else 0.0, MOST_BYTES)
        made.bracket.fit(whole(data["fits"], 0, MOST_UNITS) * 9 // 10)
        made.ran = whole(data["ran"], 0, MOST_UNITS)
        return made
