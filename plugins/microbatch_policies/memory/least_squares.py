"""Weighted recursive least squares in information form, with a one-sided bound on the next observation.

y = a + b x + o N + c x^2: a fixed cost, x units in flight of N in the batch (its result). Noise grows with
size, so an observation weighs 1/y^2: with 2 % noise and a nominal 1 % bound, unweighted fits were exceeded
5.4 % of the time. (The study weighs 1/x^2; where the fixed cost dominates that trusts the smallest sizes far
too much, and the bound reached 64 % of the limit after four probes instead of 81 %.) Keeping sums (matrix,
vector, count) rather than a covariance makes the state additive, lets a column be left out at solving time,
and needs no start value.

Invariant: every coefficient is at least 0 (more units never need less). N joins only where batches differed
in size, x^2 only where its interval excludes 0. Rejected: elimination on plain floats (two columns in 10 us
instead of 15, with 40 lines more).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbatch_policies.kept import MOST_UNITS, real, whole
from microbatch_policies.memory.constants import LEAST_NOISE, NOISE, RIDGE
from microbatch_policies.memory.student import t_quantile

COLUMNS = 4
"""1, x, N, x^2."""
MOST_SUM = 1e90
"""Largest sum that is read back."""
MOST_MEAN = 1e75
"""Largest mean square of a column, and one over the least: squares of shares of sizes up to 2^62, divided by
the square of a time or a peak."""
MOST_COUNT, LEAST_COUNT = 1e12, 1e-9
"""Observations that sums may be of; older ones fade, and each loading takes three quarters of the weight."""

Floats = NDArray[np.float64]


class Fit:
    """One solved model: coefficients and how far the next observation may lie above."""

    def __init__(
        self, columns: list[int], theta: Floats, inverse: Floats, spread: float, scale: float
    ) -> None:
        self.columns = columns
        self.theta = theta
        self._inverse = inverse
        self._spread = spread
        self._scale = scale
        self._known: tuple[float, list[float], list[float]] = (-1.0, [], [])

    def value(self, x: float, total: float) -> float:
        """Predicted y."""
        (at, rise, curve), _ = self._polynomials(total)
        return at + (rise + curve * x) * x

    def bound(self, x: float, total: float) -> float:
        """What y exceeds with the given risk only."""
        # y + t s sqrt(y^2 + u' A^-1 u): noise grows with y, and the fit has its own variance
        (at, rise, curve), (v0, v1, v2, v3, v4) = self._polynomials(total)
        y = at + (rise + curve * x) * x
        own = v0 + (v1 + (v2 + (v3 + v4 * x) * x) * x) * x
        return y + self._spread * math.sqrt(y * y + max(0.0, own))

    def largest(self, budget: float, total: float, most: int) -> int:
        """The largest x up to `most` whose bound is within `budget`; 0 if not even 1 is.

        The prediction never falls with x, the bound only where it is within the data: bisection finds it.
        """
        return largest_within(budget, most, lambda x: self.bound(x, total))

    @property
    def curved(self) -> bool:
        """Whether x^2 is there, and the interval of its coefficient excludes 0."""
        width = self._spread * math.sqrt(max(self._inverse[-1, -1], 0.0))
        return self.columns[-1] == 3 and bool(self.theta[-1] > width)

    def _polynomials(self, total: float) -> tuple[list[float], list[float]]:
        """Coefficients in x of the prediction and of its own variance: no matrix for each size asked."""
        if total != self._known[0]:
            # the row of a size is u(x) = powers (1, x, x^2)', so theta' u and u' A^-1 u are polynomials
            unit = 1 / self._scale
            rows = [[1, 0, 0], [0, unit, 0], [total * unit, 0, 0], [0, 0, unit * unit]]
            powers = np.array([rows[column] for column in self.columns])
            (v0, a, b), (_, c, d), (_, _, v4) = (powers.T @ self._inverse @ powers).tolist()
            self._known = (total, (self.theta @ powers).tolist(), [v0, 2 * a, 2 * b + c, 2 * d, v4])
        return self._known[1:]


class LeastSquares:
    """Sums over observations, the older ones fading by `forgetting` per new one."""

    def __init__(self, forgetting: float = 0.99) -> None:
        self._forgetting = forgetting
        self.matrix: Floats = np.zeros((COLUMNS, COLUMNS))
        self.vector: Floats = np.zeros(COLUMNS)
        self.count = 0.0
        self.scale = 0.0
        self.xs: tuple[int, int] = (0, 0)
        self.totals: tuple[int, int] = (0, 0)

    def add(self, x: int, total: int, y: float) -> None:
        """One observation: `x` units in flight of `total` needed `y` > 0."""
        if not self.scale:
            self.scale = float(x)
            self.xs, self.totals = (x, x), (total, total)
        u, v = x / self.scale, total / self.scale
        # normal equations: A = sum of u u' / y^2, b = sum of u / y, each older term times `keep` once more
        row, keep = np.array([1.0, u, v, u * u]) / y, self._forgetting
        self.matrix = self.matrix * keep + row[:, None] * row
        self.vector = self.vector * keep + row
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
            fit = self._guarded([*columns, 3], risk)
            if fit.curved:
                return fit
        return self._guarded(columns, risk)

    def widen(self, by: float = 4.0) -> None:
        """Believe the past less, as after loading it: the sums shrink, so the bound moves away."""
        self.matrix, self.vector, self.count = self.matrix / by, self.vector / by, self.count / by

    def _guarded(self, columns: list[int], risk: float) -> Fit:
        """The fit with the most negative coefficient left out until none is negative."""
        inverse = _inverse(self.matrix.take(columns, 0).take(columns, 1))
        vector = self.vector.take(columns)
        theta = inverse @ vector
        if theta.min() < 0 and len(columns) > 1:
            lowest = theta.argmin()
            return self._guarded([c for at, c in enumerate(columns) if at != lowest], risk)
        return Fit(columns, np.maximum(theta, 0.0), inverse, self._spread(theta, vector, risk), self.scale)

    def _spread(self, theta: Floats, vector: Floats, risk: float) -> float:
        """Quantile times relative noise."""
        freedom = int(self.count - len(theta) + 1e-9)
        if freedom < 1:
            return t_quantile(risk, 30) * NOISE
        # the sum of w (y - prediction)^2: at the solution that is sum of w y^2, the count, minus theta' b
        rest = max(0.0, self.count - float(theta @ vector))
        return t_quantile(risk, freedom) * max(math.sqrt(rest / freedom), LEAST_NOISE)

    def as_json(self) -> dict[str, Any]:
        """The sums."""
        sums = {"matrix": self.matrix.tolist(), "vector": self.vector.tolist(), "count": self.count}
        return {**sums, "scale": self.scale, "xs": list(self.xs), "totals": list(self.totals)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], forgetting: float) -> LeastSquares:
        """Raises ValueError, KeyError or TypeError for what `as_json` did not make.

        What had hardly a weight left is forgotten.
        """
        made = cls(forgetting)
        count, scale = real(data["count"], 0.0, MOST_COUNT), real(data["scale"], 0.0, MOST_UNITS)
        xs, totals = _pair(data["xs"]), _pair(data["totals"])
        matrix, vector = _floats(data["matrix"], COLUMNS**2), _floats(data["vector"], COLUMNS)
        if count < LEAST_COUNT:
            return made
        made.count, made.scale, made.xs, made.totals = count, scale, xs, totals
        made.matrix, made.vector = matrix.reshape(COLUMNS, COLUMNS), vector
        if min(scale, xs[0]) < 1 or not _are_sums(made.matrix / count, vector / count):
            raise ValueError("these are no sums over observations")
        return made


def largest_within(budget: float, most: int, cost: Callable[[int], float]) -> int:
    """The largest size up to `most` whose cost, which never falls, is within `budget`; 0 if none is."""
    return most if cost(most) <= budget else bisect_right(range(1, most), budget, key=cost)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    return sorted(values)[int(share * (len(values) - 1))]


def _inverse(matrix: Floats) -> Floats:
    """Inverse of a small symmetric positive matrix; a ridge keeps it invertible."""
    sizes = np.sqrt(matrix.diagonal())  # columns differ by many orders of magnitude
    scales = sizes[:, None] * sizes
    scales[scales == 0] = 1.0
    scaled = matrix / scales
    scaled.flat[:: len(matrix) + 1] += RIDGE
    inverse: Floats = np.linalg.inv(scaled) / scales
    return inverse


def _pair(value: Any) -> tuple[int, int]:
    least, most = value
    return whole(least, 0, MOST_UNITS), whole(most, least, MOST_UNITS)


def _floats(value: Any, count: int) -> Floats:
    """`count` numbers, in one list or in a list of lists."""
    flat = [inner for outer in value for inner in (outer if isinstance(outer, list) else (outer,))]
    if len(flat) != count:
        raise ValueError(f"there are {len(flat)} numbers where {count} are due")
    return np.array([real(number, -MOST_SUM, MOST_SUM) for number in flat])


def _are_sums(matrix: Floats, vector: Floats) -> bool:
    """Whether there can be observations with these means, of products of columns and of columns, by y^2.

    They are the mean products of (u / y, 1), so the whole of them is symmetric, and no combination of columns
    has a negative square. That also bounds what is computed from them.
    """
    products = np.block([[matrix, vector[:, None]], [vector, np.ones(1)]])
    squares = products.diagonal()
    if not (products == products.T).all() or not ((squares == 0) | (squares > 1 / MOST_MEAN)).all():
        return False
    scales = np.sqrt(np.where(squares == 0, 1.0, squares))
    scaled = products / scales[:, None] / scales
    return bool(squares.max() < MOST_MEAN and np.linalg.eigvalsh(scaled).min() > -RIDGE / 2)
