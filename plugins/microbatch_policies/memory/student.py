"""Quantiles of Student's t distribution, without SciPy.

Source: G. W. Hill, Algorithm 396, Communications of the ACM 13(10), 1970; six digits for three degrees of
freedom and more, exact for one and two.
"""

from __future__ import annotations

import math


def t_quantile(risk: float, freedom: int) -> float:
    """The value that t exceeds with probability 0 < `risk` < 0.5 at `freedom` >= 1 degrees of freedom."""
    both = 2 * risk
    if freedom == 1:
        return 1 / math.tan(both * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (both * (2 - both)) - 2)
    return _hill(both, float(freedom))


def _hill(both: float, n: float) -> float:
    """Hill's approximation for the two-sided risk `both` at n >= 3 degrees of freedom, in his names.

    t^2 / n is a series in 1 / (n - 1/2). Near the middle of the distribution its terms are powers of the
    normal quantile x, and the sum is the exponent of exp(y) - 1; far out in the tail they are powers of
    y = (d both)^(2/n), the limit of t^2 / n for a small risk. The first form is the more exact one where
    y > 0.05 + a.
    """
    a = 1 / (n - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * both) ** (2 / n)
    if y <= 0.05 + a:
        series = (1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1
        return math.sqrt(n * (series * (n + 1) / (n + 2) + 1 / y))
    from statistics import NormalDist  # 6 ms, which `import microbatch` need not take

    x = NormalDist().inv_cdf(both / 2)
    y = x * x
    c += 0.3 * (n - 4.5) * (x + 0.6) if n < 5 else 0
    c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
    return math.sqrt(n * math.expm1(a * y * y))
