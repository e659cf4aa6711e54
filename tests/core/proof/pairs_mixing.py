"""NumPy functions whose rows depend on each other, on their places or their number: never a wrong answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.core.proof.pair import (
    FEWER,
    LINE,
    SQUARE,
    Pair,
    Sizes,
    column,
    floats,
    ids,
    matrix,
    mixing,
    of_dtype,
)
from tests.core.proof.pairs_rows import distances, softmax


def blocks(size: int) -> Callable[[Any], Any]:
    """Each row less the first of its block of `size` rows."""
    return lambda a: a - a[np.arange(len(a)) // size * size]


def places(period: int) -> Callable[[Any], Any]:
    """Each row and its place, which begins anew after `period` rows."""
    return lambda a: a + (np.arange(len(a)) % period)[:, None]


def neighbours(a: Any) -> Any:
    """The mean of each row and the one after it."""
    return (a + np.concatenate([a[1:], a[-1:]])) / 2


def smoothed(a: Any) -> Any:
    """Convolution along the rows."""
    return np.stack([np.convolve(line, [0.25, 0.5, 0.25], "same") for line in a.T], axis=1)


def ranks(a: Any) -> Any:
    """The place of each row's sum among all."""
    return a.sum(1).argsort().argsort()


def groups(a: Any, i: Any) -> Any:
    """Each row less the mean of its group."""
    sums = np.zeros((3, a.shape[1]))
    np.add.at(sums, i, a)
    return a - (sums / np.maximum(np.bincount(i, minlength=3), 1)[:, None])[i]


def first_row(a: Any) -> Any:
    """All rows are doubled, except the first."""
    made = a * 2
    made[:1] = 0
    return made


def last_row(a: Any) -> Any:
    """All rows are doubled, except the last."""
    made = a * 2
    made[-1:] = 0
    return made


def second_row(a: Any) -> Any:
    """All rows are doubled, except the second."""
    made = a * 2
    made[1:2] = 0
    return made


MIXING: tuple[Pair, ...] = (
    mixing("less the mean", lambda a: a - a.mean(0)),
    mixing("standardised", lambda a: (a - a.mean(0)) / (a.std(0) + 1e-5)),
    mixing("divided by the largest", lambda a: a / np.abs(a).max()),
    mixing("less the median", lambda a: a - np.median(a, 0)),
    mixing("clipped at quantiles", lambda a: np.clip(a, *np.quantile(a, [0.1, 0.9]))),
    mixing("softmax over the rows", lambda a: softmax(a, 0)),
    mixing("divided by the number of rows", lambda a: a / len(a)),
    mixing("a step that shrinks with the number of rows", lambda a: a - 0.1 * a / np.sqrt(a.shape[0])),
    mixing("whether there are many rows", lambda a: a * (2 if len(a) % 2 else 3)),
    mixing("cumulative sum over the rows", lambda a: np.cumsum(a, axis=0)),
    mixing("running maximum over the rows", lambda a: np.maximum.accumulate(a, axis=0)),
    mixing("cumulative sum of a column", np.cumsum, column, **LINE),
    mixing("places", lambda a: a + np.arange(len(a))[:, None]),
    mixing("only places", lambda a: np.arange(len(a))),
    mixing("places from the end", lambda a: a + np.arange(len(a))[::-1, None]),
    mixing("alternating signs", lambda a: a * (1 - 2 * (np.arange(len(a)) % 2))[:, None]),
    *(
       mixing(f"places that begin anew after {period} rows", places(period)) for period in (3, 4, 5, 6, 7, 8,
      12)),
    *(mixing(f"less the first of each block of {size} rows", blocks(size)) for size in (2, 3, 4, 5, 6, 7)),
    mixing("sine of places", lambda a: a + np.sin(np.arange(len(a)) / 10)[:, None]),
    mixing("noise of a fixed seed", lambda a: a + np.random.default_rng(0).normal(size=a.shape)),
    mixing("a fixed permutation", lambda a: a[np.random.default_rng(0).permutation(len(a))]),
    mixing("reversed", lambda a: a[::-1]),
    mixing("rolled by one", lambda a: np.roll(a, 1, axis=0)),
    mixing("sorted along the rows", lambda a: np.sort(a, axis=0)),
    mixing("order along the rows", lambda a: a.argsort(axis=0)),
    mixing("ranks", ranks),
    mixing("ordered by a column", lambda a: a[a[:, 0].argsort()]),
    mixing("differences, the first kept", lambda a: np.diff(a, axis=0, prepend=a[:1])),
    mixing("differences, one row fewer", lambda a: np.diff(a, axis=0)),
    mixing("neighbours", neighbours),
    mixing("a gradient over the rows", lambda a: np.gradient(a, axis=0)),
    mixing("convolution over the rows", smoothed),
    mixing("Fourier transform over the rows", lambda a: np.fft.fft(a, axis=0)),
    mixing("less the first row", lambda a: a - a[0]),
    mixing("less the last row", lambda a: a - a[-1]),
    mixing("the first row is another", first_row),
    mixing("the second row is another", second_row),
    mixing("the last row is another", last_row),
    mixing("less the mean of the group", groups, floats, ids(3)),
    mixing("divided by the sum of a column", lambda a, s: a * (s / s.sum())[:, None], floats, column),
    mixing("rows by rows", lambda a: a @ a.T, **FEWER),
    mixing("rows by rows, of two", lambda a, b: a @ b.T, floats, floats, **FEWER),
    mixing("distances among the rows", lambda a: distances(a, a), **FEWER),
    mixing("attention among the rows", lambda a: softmax(a @ a.T / a.shape[1]) @ a, **FEWER),
    mixing("product with itself, square", lambda a: a @ a, **SQUARE),
    mixing("least squares of all rows", lambda a, b: np.linalg.lstsq(a, b)[0], floats, floats,
           small=Sizes(24, 24), large=Sizes(256, 128)),
    mixing("columns by columns", lambda a: a.T @ a),
    mixing("sum over the rows", lambda a: a.sum(0)),
    mixing("mean of everything", np.mean),
    mixing("the largest of each column", lambda a: a.max(0)),
    mixing("the best row of each column", lambda a: a.argmax(0)),
    mixing("distinct values", np.unique, of_dtype("i4")),
    mixing("distinct rows", lambda i: np.unique(i, axis=0, return_inverse=True)[1], ids(9)),
    mixing("fewer rows by a mask", lambda a: a[a[:, 0] > 0]),
    mixing("where a column is positive", lambda a: np.nonzero(a[:, 0] > 0)[0]),
    mixing("every second row", lambda a: a[::2]),
    mixing("all but the first row", lambda a: a[1:]),
    mixing("every row twice", lambda a: np.repeat(a, 2, axis=0)),
    mixing("all rows twice", lambda a: np.concatenate([a, a])),
    mixing("one row more", lambda a: np.concatenate([a, a[:1]])),
    mixing("transposed", lambda a: a.T),
    mixing("transposed, and its mean gone", lambda a: (a - a.mean(0)).T),
    mixing("one flat line", np.ravel),
    mixing("rows in pairs", lambda a: a.reshape(-1, 2, a.shape[1])),
    mixing("rows on the second axis", lambda a: a[None]),
    mixing("one of the row axes is summed", lambda a: np.stack([a, -a])),
    mixing("interpolated to eleven rows", lambda a: a[np.linspace(0, len(a) - 1, 11).astype(int)]),
    mixing("the three best rows", lambda a: a[a.sum(1).argsort()[-3:]]),
    mixing("histogram of everything", lambda a: np.histogram(a, 5, (-3, 3))[0]),
    mixing("counts of ids, alone", lambda i: np.bincount(i, minlength=11), ids(11)),
    mixing("frequency of each id", lambda i: np.bincount(i, minlength=3)[i], ids(3)),
    mixing("distances to a partner less their mean", lambda a, b: distances(a, b) - distances(a, b).mean(),
           floats, matrix(11)),
    mixing("its own rows gathered", lambda a, i: a[i], floats, ids()),
    mixing("equal to the row before", lambda i: np.concatenate([[False], i[1:] == i[:-1]]), ids(1)),
)  # fmt: skip
