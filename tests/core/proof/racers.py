"""NumPy functions that are wrong where two of their calls overlap, or that draw random numbers in an order.

Invariant: arithmetic is exact or done value by value, so an answer that was cut without harm is the plain
call's bit for bit.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.core.proof.holders import Plain
from tests.core.proof.pairs_hidden import run

ROWS, COLUMNS = 1 << 13, 64
"""4 MiB, in parts of 32 rows at first: many enough to meet, and large enough that NumPy lets others run."""


@dataclass(frozen=True, slots=True)
class Racer:
    """A function with state of its own."""

    name: str
    make: Callable[[], Callable[..., Any]]
    """Makes it anew."""
    more: Callable[[], tuple[Any, ...]] = tuple
    """Makes its further arguments."""


def scratch() -> Any:
    """Memory to work in."""
    return np.zeros((ROWS, COLUMNS))


def work(part: Any, a: Any) -> Any:
    """Fills `part` in several steps, between which another thread may write."""
    np.multiply(a, 2, out=part)
    for _ in range(4):
        np.add(part, a, out=part)
        np.subtract(part, 1, out=part)
    return part


def used(a: Any, get: Callable[[], Any]) -> Any:
    """Works in memory and returns a copy."""
    return work(get()[: len(a)], a).copy()


def returned(a: Any, get: Callable[[], Any]) -> Any:
    """Works in memory and returns it."""
    return work(get()[: len(a)], a)


def held(by: Callable[[Any, Callable[[], Any]], Any], hold: Callable[[Any], Callable[[], Any]]) -> Any:
    """Makes functions whose memory is in what `hold` makes of it."""

    def make() -> Callable[..., Any]:
        get = hold(scratch())
        return lambda a: by(a, get)

    return make


def in_closure(memory: Any) -> Callable[[], Any]:
    """Memory in a closure."""
    return lambda: memory


def in_attribute(memory: Any) -> Callable[[], Any]:
    """Memory in an attribute of an object."""
    holder = Plain(memory)
    return lambda: holder.y


def in_dict(memory: Any) -> Callable[[], Any]:
    """Memory in an entry of a dict."""
    entries = {"memory": memory}
    return lambda: entries["memory"]


def in_global(how: str) -> Callable[[], Callable[..., Any]]:
    """Makes functions whose memory is a global of their module."""
    return lambda: run(f"def f(a): return work(b[:len(a)], a){how}", b=scratch(), work=work)


def in_default() -> Callable[..., Any]:
    """The memory is a default argument."""

    def function(a: Any, memory: Any = scratch()) -> Any:  # noqa: B008
        return work(memory[: len(a)], a).copy()

    return function


def in_class() -> Callable[..., Any]:
    """The memory is an attribute of the class of a callable object."""

    def call(self: Any, a: Any) -> Any:
        return work(self.b[: len(a)], a).copy()

    made: Callable[..., Any] = type("Model", (), {"b": scratch(), "__call__": call})()
    return made


def by_size() -> Callable[..., Any]:
    """The memory is made once for each number of rows."""

    @functools.cache
    def memory(rows: int) -> Any:
        return np.zeros((rows, COLUMNS))

    return lambda a: work(memory(len(a)), a).copy()


def the_current() -> Callable[..., Any]:
    """What it works on is an attribute while it works."""
    now = Plain(None)

    def function(a: Any) -> Any:
        now.y = a
        doubled = np.multiply(a, 2)
        return doubled + now.y

    return function


def two_steps() -> Callable[..., Any]:
    """Two memories, one after the other."""
    first, second = scratch(), scratch()

    def function(a: Any) -> Any:
        work(first[: len(a)], a)
        return work(second[: len(a)], first[: len(a)]).copy()

    return function


def drawn_by(make: Callable[[], Any], draw: Callable[[Any, Any], Any]) -> Callable[[], Callable[..., Any]]:
    """Makes functions that draw from a generator in a closure."""

    def made() -> Callable[..., Any]:
        rng = make()
        return lambda a: draw(rng, a)

    return made


def numpy_noise(rng: Any, a: Any) -> Any:
    """A number for each value."""
    return a + rng.normal(size=a.shape)


def plain(function: Callable[..., Any]) -> Callable[[], Callable[..., Any]]:
    """A function without state of its own."""
    return lambda: function


def some(a: Any, draw: Callable[[], float]) -> Any:
    """A number for each row of every hundredth."""
    return a[::1] + np.repeat([draw() for _ in range(-(-len(a) // 100))], 100)[: len(a), None]


RACERS: tuple[Racer, ...] = (
    Racer("memory in a closure", held(used, in_closure)),
    Racer("memory in a closure, returned", held(returned, in_closure)),
    Racer("memory in an attribute", held(used, in_attribute)),
    Racer("memory in an attribute, returned", held(returned, in_attribute)),
    Racer("memory in a dict", held(used, in_dict)),
    Racer("memory in a dict, returned", held(returned, in_dict)),
    Racer("memory in a global", in_global(".copy()")),
    Racer("memory in a global, returned", in_global("")),
    Racer("memory in a default", in_default),
    Racer("memory in a class", in_class),
    Racer("memory for each number of rows", by_size),
    Racer("memory in a partial",
          lambda: functools.partial(lambda b, a: work(b[: len(a)], a).copy(), scratch())),
    Racer("two memories", two_steps),
    Racer("the current rows in an attribute", the_current),
    Racer("memory that is handed in", plain(lambda a, b: work(b[: len(a)], a).copy()),
          lambda: (np.zeros((ROWS + 1, COLUMNS)),)),
    Racer("memory that is handed in, as many rows", plain(lambda a, b: work(b[: len(a)], a)),
          lambda: (scratch(),)),
    Racer("noise of NumPy", plain(lambda a: a + np.random.normal(size=a.shape))),
    Racer("dropout of NumPy", plain(lambda a: a * (np.random.random(a.shape) > 0.5))),
    Racer("a number for all", plain(lambda a: a * np.random.random())),
    Racer("a drawn order", plain(lambda a: a[np.random.permutation(len(a))])),
    Racer("noise of a generator in a closure", drawn_by(lambda: np.random.default_rng(1), numpy_noise)),
    Racer("noise of an old generator", drawn_by(lambda: np.random.RandomState(1), numpy_noise)),
    Racer("noise of a generator handed in", plain(lambda a, rng: numpy_noise(rng, a)),
          lambda: (np.random.default_rng(2),)),
    Racer("noise of the standard library", plain(lambda a: some(a, random.random))),
    Racer("noise of a generator of the standard library",
          drawn_by( lambda: random.Random(1), lambda rng, a: some(a, rng.random))),
    Racer("noise into memory",
          held(lambda a, get: work(get()[: len(a)], a) + np.random.random(a.shape), in_closure)),
)  # fmt: skip
