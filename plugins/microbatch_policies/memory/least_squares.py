"""Weighted recursive least squares in information form, with a one-sided bound on the next observation.

y = a + b x + o N + c x^2: a fixed cost, x units in flight of N in the batch (its result). Noise grows with
size, so an observation weighs 1/y^2: with 2 % noise and a nominal 1 % bound, unweighted fits were exceeded
5.4 % of the time. (The study weighs 1/x^2; where the fixed cost dominates that trusts the smallest sizes far
too much, and the bound reached 64 % of the limit after four probes instead of 81 %.) Keeping sums (matrix,
vector, total) rather than a covariance makes the state additive, lets a column be left out at solving time,
and needs no start value. Plain floats: for two to four columns NumPy's calls cost ten times the arithmetic.

Invariant: every coefficient is at least 0 (more units never need less). N joins only where batches differed
in size, x^2 only where its interval excludes 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from microbatch_policies.memory.constants import LEAST_NOISE, NOISE, RIDGE
from microbatch_policies.memory.student import t_quantile

__all__ = ["Fit", "LeastSquares", "largest_within", "quantile"]

COLUMNS = 4
"""1, x, N, x^2."""

Floats = list[float]
Matrix = list[list[float]]


class Fit:
    """One solved model: coefficients and how far the next observation may lie above."""

    __slots__ = ("_curved", "_inverse", "_known", "_scale", "_spread", "columns", "theta")

    def __init__(
        self, columns: Sequence[int], theta: Floats, inverse: Matrix, spread: float, scale: float
    ) -> None:
        self.columns = columns
        self.theta = theta
        self._inverse = inverse
        self._spread = spread
        self._scale = scale
        self._curved = 3 in columns
        self._known: tuple[float, tuple[float, float, float, float, float, float]]
        self._known = (-1.0, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0))

    def value(self, x: float, total: float) -> float:
        """Predicted y."""
        at, rise, curve = self._line(total)[:3]
        return at + (rise + curve * x) * x

    def bound(self, x: float, total: float) -> float:
        """What y exceeds with the given risk only."""
        # y + t s sqrt(y^2 + u' A^-1 u): noise grows with y (weights are 1 / y^2), and the fit has its own
        # variance
        at, rise, curve, c0, c1, c2 = self._line(total)
        y = at + (rise + curve * x) * x
        if self._curved:
            own = _quadratic(self._at(x, total), self._inverse)
        else:
            own = c0 + (c1 + c2 * x) * x
        return y + self._spread * math.sqrt(y * y + max(0.0, own))

    def largest(self, budget: float, total: float, most: int) -> int:
        """The largest x up to `most` whose bound is within `budget`; 0 if not even 1 is.

        The prediction never falls with x, the bound only where it is within the data: bisection finds it.
        """
        return largest_within(budget, most, lambda x: self.bound(x, total))

    def _line(self, total: float) -> tuple[float, float, float, float, float, float]:
        """Coefficients in x of the prediction, and of its own variance where that has no x^2; kept."""
        if total == self._known[0]:
            return self._known[1]
        # with u(x) = base + slope x (no x^2) the quadratic form is c0 + c1 x + c2 x^2: no matrix for each
        # size asked
        base = self._at(0, total)
        slope = [1 / self._scale if column == 1 else 0.0 for column in self.columns]
        rise = _dot(slope, self.theta)
        curve = self.theta[-1] / self._scale**2 if self._curved else 0.0
        turned = [_dot(line, slope) for line in self._inverse]
        own = (_quadratic(base, self._inverse), 2 * _dot(base, turned), _dot(slope, turned))
        line = (_dot(base, self.theta), rise, curve, *own)
        self._known = (total, line)
        return line

    def error(self, column: int) -> float:
        """Half the width of the interval of a coefficient."""
        at = self.columns.index(column)
        return self._spread * math.sqrt(max(self._inverse[at][at], 0.0))

    def _at(self, x: float, total: float) -> Floats:
        row = _row(x / self._scale, total / self._scale)
        return [row[column] for column in self.columns]


class LeastSquares:
    """Sums over observations, the older ones fading by `forgetting` per new one."""

    __slots__ = ("_forgetting", "count", "matrix", "scale", "square", "totals", "vector", "xs")

    def __init__(self, forgetting: float = 0.99) -> None:
        self._forgetting = forgetting
        self.matrix: Matrix = [[0.0] * COLUMNS for _ in range(COLUMNS)]
        self.vector: Floats = [0.0] * COLUMNS
        self.square = 0.0
        self.count = 0.0
        self.scale = 0.0
        self.xs: tuple[int, int] = (0, 0)
        self.totals: tuple[int, int] = (0, 0)

    def add(self, x: int, total: int, y: float) -> None:
        """One observation: `x` units in flight of `total` needed `y` > 0."""
        if not self.scale:
            self.scale = float(x)
            self.xs, self.totals = (x, x), (total, total)
        # weighted normal equations: A = sum of w u u', b = sum of w u y, each older term times `keep` once
        # more
        row, weight, keep = _row(x / self.scale, total / self.scale), 1 / (y * y), self._forgetting
        for i, u in enumerate(row):
            line, share = self.matrix[i], u * weight
            for j, v in enumerate(row):
                line[j] = line[j] * keep + share * v
            self.vector[i] = self.vector[i] * keep + share * y
        self.square = self.square * keep + 1.0
        self.count = self.count * keep + 1.0
        self.xs = (min(self.xs[0], x), max(self.xs[1], x))
        self.totals = (min(self.totals[0], total), max(self.totals[1], total))

    @property
    def ready(self) -> bool:
        """Whether two different sizes were seen, without which a slope means nothing."""
        return self.count > 0 and self.xs[1] > self.xs[0]

    def fit(self, risk: float) -> Fit:
        """Solve; call only when `ready`."""
        # N is told apart from x only where batches differed; x^2 needs five peaks over a factor of four
        columns = [0, 1] if self.totals[1] <= 1.05 * self.totals[0] else [0, 1, 2]
        if self.count >= 5 and self.xs[1] >= 4 * self.xs[0]:
            curved = self._guarded([*columns, 3], risk)
            if 3 in curved.columns and curved.theta[-1] > curved.error(3):
                return curved
        return self._guarded(columns, risk)

    def widen(self, by: float = 4.0) -> None:
        """Believe the past less, as after loading it: the sums shrink, so the bound moves away."""
        self.matrix = [[value / by for value in line] for line in self.matrix]
        self.vector = [value / by for value in self.vector]
        self.square /= by
        self.count /= by

    def _guarded(self, columns: list[int], risk: float) -> Fit:
        """The fit with the most negative coefficient left out until none is negative."""
        while True:
            inverse = _inverse([[self.matrix[i][j] for j in columns] for i in columns])
            vector = [self.vector[i] for i in columns]
            theta = [_dot(line, vector) for line in inverse]
            lowest = min(theta)
            if lowest >= 0 or len(columns) == 1:
                spread = self._spread(theta, vector, risk)
                return Fit(columns, [max(value, 0.0) for value in theta], inverse, spread, self.scale)
            del columns[theta.index(lowest)]

    def _spread(self, theta: Floats, vector: Floats, risk: float) -> float:
        """Quantile times relative noise."""
        freedom = int(self.count - len(theta) + 1e-9)
        if freedom < 1:
            return t_quantile(risk, 30) * NOISE
        # the sum of w (y - prediction)^2: at the solution that is sum of w y^2 minus theta' b
        rest = max(0.0, self.square - _dot(theta, vector))
        return t_quantile(risk, freedom) * max(math.sqrt(rest / freedom), LEAST_NOISE)

    def as_json(self) -> dict[str, Any]:
        """The sums."""
        return {
            "matrix": self.matrix,
            "vector": self.vector,
            "square": self.square,
            "count": self.count,
            "scale": self.scale,
            "xs": list(self.xs),
            "totals": list(self.totals),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], forgetting: float) -> LeastSquares:
        """Raises ValueError, KeyError or TypeError for what `as_json` did not make."""
        made = cls(forgetting)
        made.matrix = [[float(value) for value in line] for line in data["matrix"]]
        made.vector = [float(value) for value in data["vector"]]
        made.square, made.count, made.scale = (float(data[key]) for key in ("square", "count", "scale"))
        made.xs, made.totals = _pair(data["xs"]), _pair(data["totals"])
        shaped = [len(line) for line in made.matrix] == [COLUMNS] * COLUMNS and len(made.vector) == COLUMNS
        numbers = [*itertools.chain(*made.matrix), *made.vector, made.square, made.count, made.scale]
        if not shaped or not all(map(math.isfinite, numbers)) or made.count < 0 or made.scale < 0:
            raise ValueError("the sums are not four columns of finite numbers")
        return made


def largest_within(budget: float, most: int, cost: Callable[[int], float]) -> int:
    """The largest size up to `most` whose cost, which never falls, is within `budget`; 0 if not even that of
    1 is."""
    if cost(most) <= budget:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    return low


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    return sorted(values)[int(share * (len(values) - 1))]


def _row(u: float, v: float) -> tuple[float, float, float, float]:
    return (1.0, u, v, u * u)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(map(float.__mul__, a, b))


def _quadratic(row: Floats, matrix: Matrix) -> float:
    return _dot(row, [_dot(line, row) for line in matrix])


def _inverse(matrix: Matrix) -> Matrix:
    """Inverse of a small symmetric positive matrix by Gauss-Jordan; a ridge keeps it invertible."""
    n = len(matrix)
    scales = [math.sqrt(matrix[i][i]) or 1.0 for i in range(n)]  # columns differ by many orders of magnitude
    work = [
        [matrix[i][j] / (scales[i] * scales[j]) + (RIDGE if i == j else 0.0) for j in range(n)]
        + [1.0 if i == j else 0.0 for j in range(n)]
        for i in range(n)
    ]
    for i in range(n):
        pivot = max(RIDGE, work[i][i])
        line = work[i] = [value / pivot for value in work[i]]
        for k in range(n):
            if k != i and (factor := work[k][i]):
                work[k] = [value - factor * own for value, own in zip(work[k], line, strict=True)]
    return [[work[i][n + j] / (scales[i] * scales[j]) for j in range(n)] for i in range(n)]


def _pair(value: Any) -> tuple[int, int]:
    least, most = value
    if type(least) is not int or type(most) is not int or not 0 <= least <= most:
        raise ValueError(f"{value!r} is not a range of sizes")
    return least, most
