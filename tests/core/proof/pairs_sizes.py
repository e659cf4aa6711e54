"""Functions that need some rows or change with their number, arguments that are no data, and requests."""

from __future__ import annotations

import enum
import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.core.proof.pair import (
    FEWER,
    HUNDREDS,
    TENS,
    Pair,
    Sizes,
    always,
    by_requests,
    floats,
    mixing,
    row_wise,
)


def needs(rows: int) -> Callable[[Any], Any]:
    """A function that raises below `rows` rows."""

    def function(a: Any) -> Any:
        if len(a) < rows:
            raise ValueError(f"at least {rows} rows, please")
        return np.tanh(a)

    return function


def from_on(rows: int, many: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Doubles fewer than `rows` rows, and does `many` with more."""
    return lambda a: many(a) if len(a) >= rows else a * 2


def multiples(of: int) -> Callable[[Any], Any]:
    """A function that raises unless the number of rows is a multiple."""

    def function(a: Any) -> Any:
        return np.tanh(a.reshape(len(a) // of, of, -1)).reshape(a.shape)

    return function


class Mode(enum.Enum):
    """A setting."""

    FAST = 2


class Scale:
    """A setting with a method."""

    def __init__(self, by: float) -> None:
        self.by = by

    def apply(self, a: Any) -> Any:
        """Scale."""
        return a * self.by


def lengths_of(starts: Any) -> Any:
    """Of the requests."""
    return np.diff(starts)


def owners(starts: Any) -> Any:
    """The request of each token."""
    return np.repeat(np.arange(len(starts) - 1), lengths_of(starts))


def positions(starts: Any) -> Any:
    """The place of each token in its request."""
    return np.arange(starts[-1]) - starts[:-1][owners(starts)]


def attention(a: Any, starts: Any) -> Any:
    """Each token looks at those of its own request."""
    scores = np.where(owners(starts)[:, None] == owners(starts), a @ a.T / a.shape[1], -np.inf)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True) @ a


def causal(a: Any, starts: Any) -> Any:
    """The sum of a request's tokens so far."""
    return np.concatenate([np.cumsum(a[i:j], 0) for i, j in itertools.pairwise(starts)])


def padded(a: Any, starts: Any) -> Any:
    """A mask with a row for each request, as wide as seven tokens."""
    return np.arange(7) < lengths_of(starts)[:, None]


def of_requests(s: Sizes, rng: Any) -> Any:
    """A number for each request."""
    return rng.normal(size=len(s.starts) - 1)


def every_token(s: Sizes) -> Any:
    """Requests of one token."""
    return np.arange(s.rows + 1)


def f(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(a, starts)`, with the starts by their name."""
    return lambda a, *, query_start_loc: function(a, query_start_loc)


SIZES: tuple[Pair, ...] = (
    row_wise("needs eight rows", needs(8), **TENS),
    row_wise("needs two rows", needs(2)),
    mixing("needs a hundred rows", needs(100), **HUNDREDS),
    mixing("needs more rows than a part has", needs(20)),
    mixing("from a hundred rows on, less the mean", from_on(100, lambda a: a - a.mean(0)), **HUNDREDS),
    mixing("from a hundred rows on, sorted", from_on(100, lambda a: np.sort(a, 0)), **HUNDREDS),
    mixing("from a hundred rows on, places", from_on(100, lambda a: a + np.arange(len(a))[:, None]),
           **HUNDREDS),
    mixing("from a hundred rows on, three times", from_on(100, lambda a: a * 3), **HUNDREDS),
    mixing("from ten rows on, less the mean", from_on(10, lambda a: a - a.mean(0)), **TENS),
    mixing("from ten rows on, less the first row", from_on(10, lambda a: a * 2 - a[0]), **TENS),
    mixing("from ten rows on, the number of rows too", from_on(10, lambda a: a * 2 * len(a)), **TENS),
    mixing("only with a multiple of eight rows", multiples(8), **TENS),
    mixing("one row is no row", lambda a: np.squeeze(a * 2)),
    mixing("another type for few rows", lambda a: a.tolist() if len(a) < 3 else a * 2),
    row_wise("a dtype", lambda a, dtype: a.astype(dtype), floats, always(np.float32)),
    row_wise("a dtype by name", lambda a, *, dtype: a.astype(dtype),
             keywords={"dtype": always(np.dtype("f4"))}),
    row_wise("a type", lambda a, kind: a.astype(kind), floats, always(int)),
    row_wise("a function", lambda a, g: g(a), floats, always(np.tanh)),
    row_wise("a function first", lambda g, a: g(a), always(np.tanh), floats),
    row_wise("a plain function by name", lambda a, *, g: g(a), keywords={"g": always(lambda a: a * 2)}),
    row_wise("a partial function", lambda a, g: g(a), floats, always(functools.partial(np.multiply, 2))),
    row_wise("a method", lambda a, g: g(a), floats, always(Scale(3.0).apply)),
    row_wise("an object with a setting", lambda a, g: g.apply(a), floats, always(Scale(3.0))),
    row_wise("a module", lambda a, xp: xp.tanh(a), floats, always(np)),
    row_wise("a module of the standard library", lambda a, m: a * m.pi, floats, always(math)),
    row_wise("an operator", lambda a, op: op(a, 2), floats, always(operator.mul)),
    row_wise("a member of an enumeration", lambda a, mode: a * mode.value, floats, always(Mode.FAST)),
    row_wise("a slice", lambda a, part: a[:, part], floats, always(slice(1, 4))),
    row_wise("an ellipsis and None", lambda a, more, none: a[more], floats, always(...), always(None)),
    row_wise("a number of NumPy", lambda a, by: a * by, floats, always(np.float64(2.5))),
    row_wise("a 0-dimensional array", lambda a, by: a * by, floats, always(np.array(2.5))),
    row_wise("an array of one entry", lambda a, by: a * by, floats, always(np.array([2.5]))),
    row_wise("any arguments", lambda *some: some[0] + some[1] * some[2], floats, floats, always(2)),
    row_wise("any names", lambda **some: some["a"] + some["b"], positional=False,
             keywords={"a": floats, "b": floats}),
    by_requests("decode: one token each", f(lambda a, starts: a * 2), starts_of=every_token),
    by_requests("tokens only", f(lambda a, starts: a * 2)),
    by_requests("places in requests", f(lambda a, starts: a + positions(starts)[:, None])),
    by_requests("lengths of requests", f(lambda a, starts: a * lengths_of(starts)[owners(starts)][:, None])),
    by_requests("sums of requests", f(lambda a, starts: np.add.reduceat(a, starts[:-1]))),
    by_requests("less the mean of the request",
                f(lambda a,
                starts: a - ( np.add.reduceat(a, starts[:-1]) / lengths_of(starts)[:, None])[
                 owners(starts)])),
    by_requests("last tokens", f(lambda a, starts: a[starts[1:] - 1])),
    by_requests("tokens and last tokens", f(lambda a, starts: {"all": a * 2, "last": a[starts[1:] - 1]})),
    by_requests("attention in requests", f(attention), **FEWER),
    by_requests("sums so far", f(causal)),
    by_requests("masks of requests", f(padded)),
    by_requests("labels of requests", f(lambda a, starts: [f"{one:.3f}" for one in a[starts[1:] - 1, 0]])),
    by_requests("a number for each request", lambda a, n, *,
                query_start_loc: a * n[owners(query_start_loc)][:, None], floats, of_requests),
    mixing("places in the whole batch", f(lambda a, starts: a + np.arange(len(a))[:, None]), starts=True),
    mixing("numbers of requests", f(lambda a, starts: a + owners(starts)[:, None]), starts=True),
    mixing("the number of requests", f(lambda a, starts: (a * 2, len(starts) - 1)), starts=True),
    mixing("starts as they are", f(lambda a, starts: (a * 2, starts)), starts=True),
    mixing("the longest request", f(lambda a, starts: a * lengths_of(starts).max()), starts=True),
    mixing("masks as wide as the longest request",
           f(lambda a, starts: np.arange(lengths_of(starts).max()) < lengths_of(starts)[:, None]),
           starts=True),
    mixing("less the mean of all requests", f(lambda a, starts: a - a.mean(0)), starts=True),
    mixing("the request before",
           f(lambda a, starts: a + np.roll(a[starts[1:] - 1, 0], 1)[owners(starts)][:, None]), starts=True),
    mixing("weights with a row for each request", lambda a, w, *, query_start_loc: a @ w.T, floats, lambda s,
           rng: rng.normal(size=(len(s.starts) - 1, s.columns)), starts=True),
)  # fmt: skip
