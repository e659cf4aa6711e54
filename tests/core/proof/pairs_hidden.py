"""One entry a row, hidden in objects, closures, defaults and globals: never the rows of another part.

Invariant: each function takes as many of the hidden entries as it is given rows. So no shape tells that they
are those of other rows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.core.proof.holders import HOLDERS, KNOWN, Callback, Frame, Holder, Plain
from tests.core.proof.pair import TENS, Pair, Sizes, floats, mixing, row_wise, wrapped_in


def takes(get: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """A function that adds hidden entries to rows."""
    return lambda a, b: a + get(b)[: len(a)]


def hidden(of: Holder) -> Pair:
    """A pair whose second argument holds the entries, in an object that nobody knows."""
    name, make, get = of
    return mixing(f"rows in {name}", takes(get), floats, wrapped_in(make))


def opened(of: Holder) -> Pair:
    """A pair whose second argument is a container that is cut."""
    name, make, get = of
    return row_wise(f"rows in {name}", takes(get), floats, wrapped_in(make))


def entries(sizes: Sizes) -> Any:
    """As many as rows."""
    return np.random.default_rng(99).normal(size=(sizes.rows, sizes.columns))


def closing(use: Callable[[Any, Any], Any], make: Callable[[Sizes], Any] = entries) -> Any:
    """Makes functions that use what is in their closure: `use(held, a)`."""

    def made(sizes: Sizes) -> Callable[..., Any]:
        held = make(sizes)
        return lambda a: use(held, a)

    return made


def repeating(sizes: Sizes) -> Any:
    """Entries that are the same for every six rows."""
    return np.resize(np.arange(6.0), (sizes.rows, 1))


def alike(sizes: Sizes) -> Any:
    """Entries of which the first eight are equal."""
    return np.maximum(np.arange(sizes.rows) - 7.0, 0)[:, None]


def run(source: str, **names: Any) -> Callable[..., Any]:
    """The function `f` of a module of its own, which has `names` as globals."""
    exec(source, names)  # noqa: S102  # the globals of a module are what is tested
    return names["f"]  # type: ignore[no-any-return]


def with_default(sizes: Sizes) -> Callable[..., Any]:
    """The entries are a default argument."""

    def function(a: Any, b: Any = entries(sizes)) -> Any:  # noqa: B008
        return a + b[: len(a)]

    return function


def with_attribute(sizes: Sizes) -> Callable[..., Any]:
    """The entries are an attribute of the function."""

    def function(a: Any) -> Any:
        return a + function.b[: len(a)]  # type: ignore[attr-defined]

    function.b = entries(sizes)  # type: ignore[attr-defined]
    return function


class Model:
    """A callable object with entries for rows, and a method that is the same."""

    def __init__(self, sizes: Sizes) -> None:
        self.b = entries(sizes)

    def __call__(self, a: Any) -> Any:
        return a + self.b[: len(a)]

    def method(self, a: Any) -> Any:
        """The same."""
        return a * self.b[: len(a)]


class Cursor:
    """Gives the next entries at each call, as a reader of a file does."""

    def __init__(self, y: Any) -> None:
        self.y, self.at = y, 0

    def take(self, count: int) -> Any:
        """The next `count` entries."""
        self.at += count
        return self.y[self.at - count : self.at]


def masked(a: Any, mask: Any) -> Any:
    """Attention whose mask is an object."""
    scores = a @ np.ones((a.shape[1], a.shape[1])) / 9 + mask()[: len(a)]
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def remembered(a: Any, cache: Any) -> Any:
    """Rows are joined to those in a cache that is passed in."""
    return np.concatenate([a, cache.y[: len(a)]], axis=1)


HIDDEN: tuple[Pair, ...] = (
    *map(hidden, HOLDERS),
    *map(opened, KNOWN),
    mixing("rows in its closure", closing(lambda b, a: a + b[: len(a)]), made=True),
    mixing("rows in a list in a closure",
           closing(lambda b, a: a + np.array(b)[: len(a), None], lambda sizes: entries(sizes)[:, 0].tolist()),
           made=True),
    mixing("rows in an object in a closure",
           closing(lambda b, a: a + b.y[: len(a)], lambda sizes: Plain(entries(sizes))), made=True),
    mixing("rows in a closure, from the end", closing(lambda b, a: a + b[-len(a) :]), made=True),
    mixing("rows in a closure, that repeat every six", closing(lambda b, a: a + b[: len(a)], repeating),
           made=True),
    mixing("rows in a closure, the first eight alike", closing(lambda b, a: a + b[: len(a)], alike),
           made=True, **TENS),
    row_wise("a table in a closure, by number", closing(lambda b, a: a + b[(a[:, 0] > 0).astype(int)]),
             made=True),
    mixing("rows in a module's global",
           lambda sizes: run("def f(a): return a + b[:len(a)]", b=entries(sizes)), made=True),
    mixing("rows in a global of a global",
           lambda sizes: run( "def f(a): return g(a)\ndef g(a): return a + b[:len(a)]", b=entries(sizes)),
           made=True),
    mixing("rows in a default", with_default, made=True),
    mixing("rows in an attribute of the function", with_attribute, made=True),
    mixing("rows in a model", Model, made=True),
    mixing("rows in the object of a method", lambda sizes: Model(sizes).method, made=True),
    mixing("rows in a partial", lambda sizes: functools.partial(takes(np.asarray), b=entries(sizes)),
           made=True),
    mixing("rows in a partial, first",
           lambda sizes: functools.partial( lambda b, a: a + b[: len(a)], entries(sizes)), made=True),
    mixing("rows from a reader that is passed in", lambda a, b: a + b.take(len(a)), floats,
           wrapped_in(Cursor)),
    mixing("a mask in an object", masked, floats, wrapped_in(Callback)),
    mixing("a cache that is passed in", remembered, floats, wrapped_in(Plain)),
    mixing("a table by name", lambda a, *, b: a + b["y"][: len(a)], keywords={"b": wrapped_in(Frame)}),
    mixing("hidden rows, and their own used", lambda a, b: np.hypot(a, b.y[: len(a)]).max(1), floats,
           wrapped_in(Plain)),
    mixing("hidden rows of another object of rows", lambda a, b: b.y[: len(a)], floats, wrapped_in(Plain)),
    row_wise("an object of settings", lambda a, b: a * b.y, floats, lambda s, rng: Plain(3.5)),
    row_wise("an object with weights", lambda a, b: a @ b.y.T, floats, lambda s,
             rng: Plain(rng.normal(size=(11, s.columns)))),
    mixing("an object with weights of as many rows", lambda a, b: a @ b.y.T, floats, wrapped_in(Plain),
           small=Sizes(24, 24), large=Sizes(512, 512)),
)  # fmt: skip
