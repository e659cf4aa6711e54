"""One pair of a function and its inputs, with what is known of it: what the tables of `pairs.py` are of.

Invariant: a pair holds no arrays. Functions and inputs are made anew for each use, so that the plain call and
the wrapped one never share state, and inputs of one number are the same values every time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from microbatch import Layout

Generator = np.random.Generator
LENGTHS = (5, 3, 7, 4, 5)
"""Tokens of the requests, repeated; 24 rows are five requests, a number that nothing else here has."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the inputs of a pair are."""

    rows: int
    """Rows of the batch."""
    columns: int = 6
    """Values in a row."""

    @property
    def starts(self) -> Any:
        """Where requests begin, and the number of rows."""
        ends = list(itertools.takewhile(lambda end: end < self.rows, self._ends()))
        return np.array([0, *ends, self.rows])

    def _ends(self) -> Any:
        return itertools.accumulate(itertools.cycle(LENGTHS))


SMALL = Sizes(24)
"""Cut into four parts of six rows."""
LARGE = Sizes(4096, 32)
"""1 MiB of float64: the default policy cuts from 256 KiB on."""
SQUARE = {"small": Sizes(24, 24), "large": Sizes(512, 512)}
"""As many columns as rows."""
FEWER = {"large": Sizes(1024, 64)}
"""For results of rows by rows."""
LINE = {"large": Sizes(1 << 16, 1)}
"""For batches of one number a row."""
HUNDREDS = {"small": Sizes(800), "large": Sizes(1 << 16, 8)}
"""Parts have more than a hundred rows, also the first: 200, and 256. A change between the rows of a part and
those of the whole batch shows in no part, so functions that change with the number of rows do so below."""
TENS = {"small": Sizes(96), "large": Sizes(1 << 16, 8)}
"""Parts have more than twenty rows."""

Maker = Callable[[Sizes, Generator], Any]
"""Makes one argument."""
By = Literal["rows", "requests", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A function, its inputs, and along what it may be cut."""

    name: str
    """Names the pair in messages."""
    make: Callable[[Sizes], Callable[..., Any]]
    """Makes the function, with fresh state."""
    inputs: tuple[Maker, ...]
    """Make the positional arguments."""
    by: By
    """What the function may be cut between. "nothing": the plain call's answer or an error, as the library
    likes. "rows" and "requests": it must be cut there, and the answer is the plain call's."""
    keywords: Mapping[str, Maker] = field(default_factory=dict)
    """Make the keyword arguments."""
    layout: Layout | None = None
    """What the caller declares."""
    small: Sizes = SMALL
    """For a step that is cut into four."""
    large: Sizes = LARGE
    """For a step with default options."""
    exact: bool = False
    """Whether answers must agree bit for bit: the function draws random numbers."""
    starts: bool = False
    """Whether the function takes `query_start_loc`."""
    starts_of: Callable[[Sizes], Any] = lambda sizes: sizes.starts
    """Where its requests begin."""

    def arguments(self, sizes: Sizes, number: int) -> tuple[list[Any], dict[str, Any]]:
        """Inputs number `number`."""
        rng = np.random.default_rng(number)
        args = [make(sizes, rng) for make in self.inputs]
        return args, {name: make(sizes, rng) for name, make in self.keywords.items()}


def row_wise(name: str, function: Callable[..., Any], *inputs: Maker, **how: Any) -> Pair:
    """A pair that must be cut."""
    return _pair("rows", name, function, inputs, how)


def mixing(name: str, function: Callable[..., Any], *inputs: Maker, **how: Any) -> Pair:
    """A pair whose rows depend on each other, or that nobody can see through."""
    return _pair("nothing", name, function, inputs, how)


def by_requests(name: str, function: Callable[..., Any], *inputs: Maker, **how: Any) -> Pair:
    """A pair that takes `query_start_loc`, and must be cut between requests."""
    return _pair("requests", name, function, inputs, {**how, "starts": True})


def _pair(by: By, name: str, function: Callable[..., Any], inputs: Any, how: dict[str, Any]) -> Pair:
    """`made=True`: `function` makes the function, from the sizes; `positional=False`: all goes by name."""
    make = function if how.pop("made", False) else lambda sizes: function
    if not inputs and how.pop("positional", True):
        inputs = (floats,)
    return Pair(name=name, make=make, inputs=inputs, by=by, **how)


# Arguments. Each is a function of the sizes and a generator.


def floats(sizes: Sizes, rng: Generator) -> Any:
    """The batch: float64, rows by columns."""
    return rng.normal(size=(sizes.rows, sizes.columns))


def of_dtype(dtype: str) -> Maker:
    """The batch in another dtype."""
    return lambda sizes, rng: (floats(sizes, rng) * 9).astype(dtype)


def column(sizes: Sizes, rng: Generator) -> Any:
    """One number a row."""
    return rng.normal(size=sizes.rows)


def matrix(rows: int) -> Maker:
    """`rows` rows as wide as the batch: weights or a partner, of another number than the batch."""
    return lambda sizes, rng: rng.normal(size=(rows, sizes.columns))


def down(width: int) -> Maker:
    """Weights from the columns of the batch to `width`."""
    return lambda sizes, rng: rng.normal(size=(sizes.columns, width))


def bias(sizes: Sizes, rng: Generator) -> Any:
    """One number a column."""
    return rng.normal(size=sizes.columns)


def ids(below: int | None = None) -> Maker:
    """One index a row, below `below` or the number of rows."""
    return lambda sizes, rng: rng.integers(0, below or sizes.rows, sizes.rows)


def words(sizes: Sizes, rng: Generator) -> list[str]:
    """A list of one text a row."""
    return [f"text {number}" for number in rng.integers(0, 10**6, sizes.rows)]


def always(value: Any) -> Maker:
    """The same value at every size."""
    return lambda sizes, rng: value


def tree(**makers: Maker) -> Maker:
    """A dict of several."""
    return lambda sizes, rng: {name: make(sizes, rng) for name, make in makers.items()}


def wrapped_in(kind: Callable[[Any], Any], make: Maker = floats) -> Maker:
    """An argument of `make`, put into an object."""
    return lambda sizes, rng: kind(make(sizes, rng))
