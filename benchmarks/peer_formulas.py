"""Black-Scholes as one writes it for those who compile: the formula of `workloads.py`.

Constants are float32, since numba and numexpr would else compute in float64, which is twice the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

RATE, VOLATILITY, ROOT_OF_TWO = np.float32(0.02), np.float32(0.3), np.float32(1.4142135)
SLOPE = np.float32(0.3275911)
FACTORS = tuple(map(np.float32, (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)))

ERF = """where(X < 0, -O, O) * (O - T * (A + T * (B + T * (C + T * (D + T * E)))) * exp(-X * X))"""


def by_jax() -> Callable[..., Any]:
    """A new `jax.jit` of the formula; nothing of it is compiled."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

    def erf(x: Any) -> Any:
        a, b, c, d, e = FACTORS
        t = 1 / (1 + SLOPE * jnp.abs(x))
        return jnp.sign(x) * (1 - t * (a + t * (b + t * (c + t * (d + t * e)))) * jnp.exp(-x * x))

    def black_scholes(price: Any, strike: Any, years: Any) -> tuple[Any, Any]:
        spread = VOLATILITY * jnp.sqrt(years)
        d1 = (jnp.log(price / strike) + (RATE + VOLATILITY * VOLATILITY / 2) * years) / spread
        discount = strike * jnp.exp(-RATE * years)
        call = price * (1 + erf(d1 / ROOT_OF_TWO)) / 2 - discount * (1 + erf((d1 - spread) / ROOT_OF_TWO)) / 2
        return call, call - price + discount

    jitted = jax.jit(black_scholes)
    return lambda *inputs: jax.block_until_ready(jitted(*inputs))


def by_numba() -> Callable[..., Any]:
    """A loop over all options that numba runs on all cores; compiled at the first call."""
    import math

    import numba

    a, b, c, d, e = FACTORS
    one, two, slope, root = np.float32(1), np.float32(2), SLOPE, ROOT_OF_TWO
    rate, volatility = RATE, VOLATILITY
    drift = np.float32(rate + volatility * volatility / two)

    @numba.njit(inline="always")
    def normal(x: Any) -> Any:
        x = x / root
        t = one / (one + slope * abs(x))
        tail = t * (a + t * (b + t * (c + t * (d + t * e)))) * math.exp(-x * x)
        return (one + math.copysign(one - tail, x)) / two

    @numba.njit(parallel=True)
    def black_scholes(price: Any, strike: Any, years: Any) -> tuple[Any, Any]:
        call, put = np.empty_like(price), np.empty_like(price)
        for row in numba.prange(len(price)):
            spread = volatility * math.sqrt(years[row])
            d1 = (math.log(price[row] / strike[row]) + drift * years[row]) / spread
            discount = strike[row] * math.exp(-rate * years[row])
            call[row] = price[row] * normal(d1) - discount * normal(d1 - spread)
            put[row] = call[row] - price[row] + discount
        return call, put

    compiled: Callable[..., Any] = black_scholes
    return compiled


def by_numba_arrays() -> Callable[..., Any]:
    """The NumPy function as it is, compiled by numba with its operations fused."""
    import numba

    from benchmarks import workloads

    erf = numba.njit(parallel=True)(workloads._erf)
    names = {**vars(workloads), "_erf": erf}
    plain = workloads.black_scholes
    compiled: Callable[..., Any] = numba.njit(parallel=True)(type(plain)(plain.__code__, names))
    return compiled


def by_numexpr() -> Callable[..., Any]:
    """Expressions as texts; numexpr cuts them into blocks and runs these on all cores."""
    import numexpr

    constants = dict(zip("ABCDE", FACTORS, strict=True))
    constants |= {"O": np.float32(1), "P": SLOPE, "R": RATE, "H": np.float32(0.5), "V": VOLATILITY}
    constants |= {"Q": ROOT_OF_TWO, "F": np.float32(RATE + VOLATILITY * VOLATILITY / 2)}

    def run(text: str, **arrays: Any) -> Any:
        return numexpr.evaluate(text, local_dict={**constants, **arrays}, global_dict={})

    def normal(x: Any) -> Any:
        t = run("O / (O + P * abs(X))", X=x)
        return run(f"(O + {ERF}) * H", X=x, T=t)

    def black_scholes(price: Any, strike: Any, years: Any) -> tuple[Any, Any]:
        named = {"p": price, "k": strike, "y": years}
        d1 = run("(log(p / k) + F * y) / (V * sqrt(y)) / Q", **named)
        n1, n2 = normal(d1), normal(run("x - V * sqrt(y) / Q", x=d1, y=years))
        call = run("p * a - k * exp(-R * y) * b", a=n1, b=n2, **named)
        return call, run("c - p + k * exp(-R * y)", c=call, **named)

    return black_scholes
