"""Distributions go in and out of a step in parts, with the batch shape of all rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import microbatch

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

X = torch.linspace(-1, 1, 60).reshape(20, 3)
PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 3}

MAKES: dict[str, Callable[[Any], Any]] = {
    "normal": lambda x: torch.distributions.Normal(x, x.exp()),
    "one scale for all": lambda x: torch.distributions.Normal(x, 2.0),
    "categories": lambda x: torch.distributions.Categorical(logits=x),
    "of vectors": lambda x: torch.distributions.Independent(torch.distributions.Normal(x, x.exp()), 1),
    "with a covariance": lambda x: torch.distributions.MultivariateNormal(x, torch.eye(3)),
    "transformed": lambda x: torch.distributions.LogNormal(x, x.exp()),
}


@pytest.mark.parametrize("kind", MAKES)
def test_a_distribution_out(kind: str) -> None:
    """Its type, its shapes, and what it says of values."""
    make = MAKES[kind]
    with microbatch.wrap(make, **PARTS) as wrapped:
        result, plain = wrapped(X), make(X)
    assert type(result) is type(plain)
    assert (result.batch_shape, result.event_shape) == (plain.batch_shape, plain.event_shape)
    values = plain.sample()
    torch.testing.assert_close(result.log_prob(values), plain.log_prob(values))
    assert result.sample().shape == plain.sample().shape


@pytest.mark.parametrize("kind", ["normal", "categories", "of vectors"])
def test_a_distribution_in(kind: str) -> None:
    given = MAKES[kind](X)
    read: Callable[[Any], Any] = lambda given: given.probs if kind == "categories" else given.mean
    with microbatch.wrap(read, **PARTS) as wrapped:
        result = wrapped(given)
        assert wrapped.last_report is not None and wrapped.last_report.sizes == (7, 7, 6)
    torch.testing.assert_close(result, read(given))
