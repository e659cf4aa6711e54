"""Functions that draw random numbers: under the default policy they draw what the plain call draws."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.core.proof.pair import Generator, Pair, Sizes, column, floats, ids, mixing, row_wise


def noise(a: Any) -> Any:
    """Noise of NumPy's one generator."""
    return a + np.random.normal(size=a.shape)


def dropped(a: Any) -> Any:
    """Dropout."""
    return a * (np.random.random(a.shape) > 0.5) * 2


def shuffled(a: Any) -> Any:
    """Writes the rows in a drawn order."""
    np.random.shuffle(a)
    return a


def with_generator(make: Callable[[], Any]) -> Callable[[Sizes], Callable[..., Any]]:
    """Makes functions with a generator in a closure."""

    def made(sizes: Sizes) -> Callable[..., Any]:
        rng = make()
        return lambda a: a + rng.normal(size=a.shape)

    return made


def with_random(sizes: Sizes) -> Callable[..., Any]:
    """A generator of the standard library in a closure."""
    rng = random.Random(3)
    return lambda a: a + np.array([[rng.gauss(0, 1)] for _ in a])


def generator(sizes: Sizes, rng: Generator) -> Generator:
    """One that is handed in."""
    return np.random.default_rng(5)


def drawn(name: str, function: Callable[..., Any], *inputs: Any, **how: Any) -> Pair:
    """A pair that draws random numbers."""
    return mixing(name, function, *inputs, exact=True, **how)


def by_id(a: Any, i: Any) -> Any:
    """Noise whose seed is the id of a row."""
    return a + np.stack([np.random.default_rng(int(one)).normal(size=a.shape[1]) for one in i])


RANDOM: tuple[Pair, ...] = (
    drawn("noise of NumPy", noise),
    drawn("dropout of NumPy", dropped),
    drawn("a drawn number for all", lambda a: a * np.random.random()),
    drawn("a drawn order", lambda a: a[np.random.permutation(len(a))]),
    drawn("a drawn order in place", shuffled),
    drawn("five drawn rows", lambda a: a[np.random.choice(len(a), 5)]),
    drawn("a drawn number for each row", lambda a: a + np.random.rand(len(a), 1)),
    drawn("noise of a generator in a closure", with_generator(lambda: np.random.default_rng(3)), made=True),
    drawn("noise of an old generator in a closure", with_generator(lambda: np.random.RandomState(3)),
          made=True),
    drawn("noise of a generator in a partial",
          lambda sizes: functools.partial( lambda rng, a: a + rng.normal(size=a.shape),
          np.random.default_rng(3)), made=True),
    drawn("noise of a generator that is handed in", lambda a, rng: a + rng.normal(size=a.shape), floats,
          generator),
    drawn("noise of a generator by name", lambda a, *, rng: a + rng.normal(size=a.shape),
          keywords={"rng": generator}),
    drawn("noise of the standard library", lambda a: a + np.array([[random.random()] for _ in a])),
    drawn("noise of a generator of the standard library", with_random, made=True),
    drawn("noise for the rows that are negative", lambda a,
          s: a + np.where( s > 0, 0, np.random.random(len(s)))[:, None], floats, column),
    drawn("noise in one row of a hundred", lambda a: a * (1 + (np.random.random(a.shape) > 0.99))),
    row_wise("noise by the id of a row", by_id, floats, ids(99)),
)  # fmt: skip
