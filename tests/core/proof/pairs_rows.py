"""NumPy functions whose rows do not depend on each other: they must be cut, whatever else they are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.core.proof.pair import (
    FEWER,
    LINE,
    SQUARE,
    Pair,
    bias,
    column,
    down,
    floats,
    ids,
    matrix,
    mixing,
    of_dtype,
    row_wise,
    tree,
)


def softmax(a: Any, axis: int = 1) -> Any:
    """Along an axis."""
    powers = np.exp(a - a.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def distances(a: Any, b: Any) -> Any:
    """From each row of `a` to each of `b`."""
    return np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0))


def layers(params: Any, a: Any) -> Any:
    """A small network; the weights come first."""
    for weight, offset in params["layers"]:
        a = np.tanh(a @ weight + offset)
    return a * params["scale"]


def weights(sizes: Any, rng: Any) -> Any:
    """A tree of them."""
    wide, narrow = (sizes.columns, 11), (11, 3)
    return {"layers": [(rng.normal(size=s), rng.normal(size=s[1])) for s in (wide, narrow)], "scale": 2.0}


def records(sizes: Any, rng: Any) -> Any:
    """A structured array of one entry a row."""
    made = np.zeros(sizes.rows * 4, [("x", "f8"), ("n", "i4"), ("pad", "f8", (4,))])[: sizes.rows]
    made["x"], made["n"] = rng.normal(size=sizes.rows), rng.integers(0, 9, sizes.rows)
    return made


def twice(sizes: Any, rng: Any) -> Any:
    """One array in two places."""
    made = floats(sizes, rng)
    return made, made


def dates(sizes: Any, rng: Any) -> Any:
    """A day for each value."""
    return np.datetime64("2026-01-01") + rng.integers(0, 999, (sizes.rows, sizes.columns))


ROWS: tuple[Pair, ...] = (
    row_wise("elementwise", lambda a: np.tanh(a) * 2 + 1),
    row_wise("elementwise, float32", lambda a: a * np.float32(3), of_dtype("f4")),
    row_wise("elementwise, int32", lambda a: a * 3 - 1, of_dtype("i4")),
    row_wise("elementwise, complex", lambda a: a * 1j, of_dtype("c16")),
    row_wise("a condition", lambda a: np.where(a > 0, a, -a)),
    row_wise("a copy of itself", lambda a: a),
    row_wise("booleans out", lambda a: a > 0.5),
    row_wise("sum of each row", lambda a: a.sum(1)),
    row_wise("softmax of each row", softmax),
    row_wise("each row normalised", lambda a: a / np.linalg.norm(a, axis=1, keepdims=True)),
    row_wise("each row sorted", lambda a: np.sort(a, axis=1)),
    row_wise("cumulative sum along each row", lambda a: np.cumsum(a, axis=1)),
    row_wise("differences within each row", lambda a: np.diff(a, axis=1)),
    row_wise("top three of each row", lambda a: np.sort(a, axis=1)[:, -3:]),
    row_wise("the best column of each row", lambda a: a.argmax(1)),
    row_wise("histogram of each row", lambda a: np.stack([np.histogram(row, 4, (-3, 3))[0] for row in a]),
             **FEWER),
    row_wise("convolution within rows", lambda a: np.stack([np.convolve(row, [1, 2, 1]) for row in a]),
             **FEWER),
    row_wise("three axes", lambda a: a[:, :, None] * np.arange(3.0)),
    row_wise("outer product of each row", lambda a: a[:, :2, None] * a[:, None, :2]),
    row_wise("dates", lambda a: a + np.timedelta64(3, "D"), dates),
    row_wise("records", lambda a: a["x"] * a["n"], records),
    row_wise("masked values", lambda a: np.ma.masked_greater(a, 1.0) * 2),
    row_wise("weights of fewer rows", lambda a, w: np.tanh(a @ w), floats, down(11)),
    row_wise("weights, transposed", lambda a, w: a @ w.T, floats, matrix(11)),
    row_wise("weights of as many rows, transposed", lambda a, w: np.tanh(a @ w.T), floats, floats, **FEWER),
    row_wise("square weights of as many rows", lambda a, w: np.tanh(a @ w), floats, floats, **SQUARE),
    row_wise("the identity as weights", lambda a, w: a @ w.T, floats, lambda s, rng: np.eye(s.rows),
             **SQUARE),
    row_wise("two layers", lambda a, w, v: np.tanh(a @ w) @ v, floats, down(11), lambda s,
             r: np.ones((11, 3))),
    row_wise("weights in a closure", lambda sizes: lambda a: a @ np.ones((sizes.columns, 3)), made=True),
    row_wise("a bias", lambda a, b: a + b[None], floats, bias),
    row_wise("a bias as long as the batch", lambda a, b: a + b[None], floats, bias, **SQUARE),
    row_wise("scale and bias by name", lambda a, *, b, s: a * s + b, keywords={"b": bias, "s": bias}),
    row_wise("einsum", lambda a, w: np.einsum("nd,kd->nk", a, w), floats, matrix(11)),
    row_wise("distances to a partner", distances, floats, matrix(11)),
    row_wise("distances to a partner of as many rows", distances, floats, floats, **FEWER),
    row_wise("the nearest of a partner of as many rows", lambda a, b: distances(a, b).argmin(1), floats,
             floats, **FEWER),
    row_wise("attention over a partner", lambda a, k: softmax(a @ k.T) @ k, floats, matrix(11)),
    row_wise("attention over a partner of as many rows", lambda a, k: softmax(a @ k.T) @ k, floats, floats,
             **FEWER),
    row_wise("weights first", layers, weights, floats),
    row_wise("one matrix first", lambda w, a: a @ w, down(11), floats),
    row_wise("coefficients first", lambda c, a: np.polyval(c, a), lambda s, rng: rng.normal(size=4), floats),
    row_wise("bins first", lambda b, a: np.searchsorted(b, a), lambda s, rng: np.sort(rng.normal(size=9)),
             floats),
    row_wise("gather", lambda i, t: t[i], ids(11), matrix(11)),
    row_wise("gather, the table first", lambda t, i: t[i] * 2, matrix(11), ids(11)),
    row_wise("gather from a table of as many rows", lambda i, t: t[i], ids(), floats),
    row_wise("gather and add", lambda a, i, t: a + t[i], floats, ids(11), matrix(11)),
    row_wise("one column of each row", lambda a, i: np.take_along_axis(a, i[:, None], 1), floats, ids(6)),
    row_wise("two arrays of rows", lambda a, b: a * b - b, floats, floats),
    row_wise("the same array twice", lambda pair: pair[0] * pair[1], twice),
    row_wise("distances to itself, given twice", lambda pair: distances(*pair), twice, **FEWER),
    row_wise("a number for each row", lambda a, s: a * s[:, None], floats, column),
    row_wise("a boolean for each row", lambda a, s: np.where(s[:, None] > 0, a, 0.0), floats, column),
    row_wise("a tree of rows", lambda t: t["a"] + t["more"]["b"][:, None],
             tree(a=floats, more=tree(b=column))),
    row_wise("rows and numbers in a tree", lambda t: t["a"] * t["by"], tree(a=floats, by=lambda s, r: 1.5)),
    row_wise("by name only", lambda *, first, second: first - second, positional=False,
             keywords={"first": floats, "second": floats}),
    mixing("interpolation between points as many as rows", np.interp, column, lambda s,
           rng: np.sort(rng.normal(size=s.rows)), column, **LINE),
    mixing("weights first, with a bias as long as the batch", lambda p, a: a @ p["w"] + p["b"],
           tree(w=floats, b=bias), floats, **SQUARE),
    mixing("sorted bins as many as rows", lambda b, a: np.searchsorted(np.sort(b), a), column, floats),
    mixing("a matrix object", lambda a: a * 2, lambda s, rng: np.asmatrix(floats(s, rng))),
    mixing("texts of any width", lambda a: np.char.add(a.astype("U9"), "!"), of_dtype("i4")),
    mixing("two whole partners of as many rows", lambda a, k, v: softmax(a @ k.T) @ v, floats, floats, floats,
           **FEWER),
)  # fmt: skip
