"""Quantiles of t against printed tables (one-sided)."""

from __future__ import annotations

from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch_policies.memory.student import t_quantile


@pytest.mark.parametrize(
    ("risk", "freedom", "expected"),
    [
        (0.01, 1, 31.8205),
        (0.01, 2, 6.9646),
        (0.01, 3, 4.5407),
        (0.01, 5, 3.3649),
        (0.01, 10, 2.7638),
        (0.01, 30, 2.4573),
        (0.05, 3, 2.3534),
        (0.05, 12, 1.7823),
        (0.001, 4, 7.1732),
        (0.25, 8, 0.7064),
    ],
)
def test_tables(risk: float, freedom: int, expected: float) -> None:
    assert t_quantile(risk, freedom) == pytest.approx(expected, rel=2e-4)


@given(st.floats(0.001, 0.4), st.integers(1, 200))
def test_it_falls_to_the_normal_quantile(risk: float, freedom: int) -> None:
    normal = -NormalDist().inv_cdf(risk)
    assert t_quantile(risk, freedom) > t_quantile(risk, freedom + 1) * 0.9999 > normal * 0.999
