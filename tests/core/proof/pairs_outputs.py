"""What comes out: trees, labels, constants, sizes, objects."""

from __future__ import annotations

import collections
import types
from typing import Any, NamedTuple

import numpy as np

from tests.core.proof.holders import Data, Dict, Plain
from tests.core.proof.pair import FEWER, HUNDREDS, TENS, Pair, floats, mixing, row_wise


class Scores(NamedTuple):
    """A named tuple of two things for each row."""

    best: Any
    place: Any


def labels(a: Any) -> list[str]:
    """A text for each row."""
    return [f"{value:.3f}" for value in a.max(1)]


OUTPUTS: tuple[Pair, ...] = (
    row_wise("scores and labels", lambda a: {"score": np.tanh(a).max(1), "label": labels(a)}),
    row_wise("labels only", labels),
    row_wise("a list of numbers", lambda a: a.sum(1).tolist()),
    row_wise("a list of lists out", lambda a: a.tolist(), **FEWER),
    row_wise("a list of booleans", lambda a: (a[:, 0] > 0).tolist()),
    row_wise("a tuple of two", lambda a: (a * 2, a.sum(1))),
    row_wise("a list of two", lambda a: [a * 2, a.sum(1)]),
    row_wise("a named tuple", lambda a: Scores(a.max(1), a.argmax(1))),
    row_wise("a dict in a dict", lambda a: {"a": {"b": a, "c": (a.sum(1),)}}),
    row_wise("an ordered dict", lambda a: collections.OrderedDict(z=a, a=a.sum(1))),
    row_wise("rows and a text", lambda a: {"y": a * 2, "model": "tiny"}),
    row_wise("rows and None", lambda a: (a * 2, None)),
    row_wise("rows and a number", lambda a: (a * 2, 3.5)),
    row_wise("rows and a flag", lambda a: {"y": a * 2, "done": True}),
    row_wise("rows and the weights", lambda a, w: (a @ w.T, w), floats, lambda s,
             rng: np.ones((11, s.columns))),
    row_wise("rows and a constant array", lambda a: (a * 2, np.arange(7.0))),
    row_wise("rows and a list of names", lambda a: (a * 2, ["one", "two", "three", "four"])),
    row_wise("rows and the number of columns", lambda a: (a * 2, a.shape[1])),
    row_wise("rows and an empty dict", lambda a: (a * 2, {})),
    row_wise("one column", lambda a: a[:, :1]),
    row_wise("no columns", lambda a: a[:, :0]),
    row_wise("a number of NumPy for each row, as objects", lambda a: a.sum(1).astype(object)),
    mixing("labels and the number of rows",
           lambda a: {"score": np.tanh(a).max(1), "label": labels(a), "rows": len(a)}),
    mixing("the number of rows", len),
    mixing("rows and the number of rows", lambda a: (a * 2, len(a))),
    mixing("rows and their number as an array", lambda a: (a * 2, np.array(len(a)))),
    mixing("rows and their number in a text", lambda a: (a * 2, f"{len(a)} rows")),
    mixing("rows and their shape", lambda a: (a * 2, a.shape)),
    mixing("rows and their number in a list", lambda a: (a * 2, [len(a)])),
    mixing("rows and whether there are more than a hundred", lambda a: (a * 2, len(a) > 100), **HUNDREDS),
    mixing("rows and their bytes", lambda a: (a * 2, a.nbytes)),
    mixing("rows and the mean", lambda a: {"y": a * 2, "mean": a.mean(0)}),
    mixing("rows and the loss", lambda a: (a * 2, float((a**2).mean()))),
    mixing("rows and the first row", lambda a: (a * 2, a[0])),
    mixing("rows and the last row", lambda a: (a * 2, a[-1])),
    mixing("rows and the best row", lambda a: (a * 2, int(a.sum(1).argmax()))),
    mixing("rows and the largest value", lambda a: (a * 2, a.max())),
    mixing("rows and their places", lambda a: {"y": a * 2, "at": list(range(len(a)))}),
    mixing("rows and eight of them", lambda a: (a * 2, a[:8]), **TENS),
    mixing("rows and rows by rows", lambda a: (a * 2, a @ a.T), **FEWER),
    mixing("rows and a boolean of all", lambda a: (a * 2, bool((a > -99).all()))),
    mixing("rows and columns' names by a set", lambda a: (a * 2, {"a", "b"})),
    mixing("a tuple of numbers", lambda a: tuple(a.sum(1).tolist())),
    mixing("a tuple of rows", lambda a: tuple(a), **FEWER),
    mixing("a list of rows", lambda a: list(a), **FEWER),
    mixing("a dict out with a key for each row", lambda a: dict(enumerate(a.sum(1).tolist()))),
    mixing("a dict with a key for each label", lambda a: dict.fromkeys(labels(a), 1)),
    mixing("a set of labels", lambda a: set(labels(a))),
    mixing("a text of all rows", lambda a: " ".join(labels(a))),
    mixing("bytes of all rows", lambda a: a.tobytes()),
    mixing("a deque of labels", lambda a: collections.deque(labels(a))),
    mixing("a range of rows", lambda a: range(len(a))),
    mixing("a generator of rows", lambda a: (row * 2 for row in a)),
    mixing("a map of rows", lambda a: map(float, a.sum(1))),
    mixing("an array of objects", lambda a: np.array(labels(a), dtype=object)),
    mixing("an array of texts", lambda a: np.array(labels(a))),
    mixing("None", lambda a: None),
    mixing("a text out", lambda a: "done"),
    mixing("a dataclass", lambda a: Data(a * 2)),
    mixing("an object", lambda a: Plain(a * 2)),
    mixing("a namespace", lambda a: types.SimpleNamespace(y=a * 2)),
    mixing("a subclass of dict", lambda a: Dict(y=a * 2)),
    mixing("a user's dict", lambda a: collections.UserDict({"y": a * 2})),
    mixing("a counter of signs", lambda a: collections.Counter((a[:, 0] > 0).tolist())),
    mixing("a list that is two for large values", lambda a: [a] if a.max() < 2 else [a, a]),
    mixing("keys that depend on the values", lambda a: {"high" if a.max() > 2 else "low": a}),
    mixing("a view of the input, reversed columns", lambda a: a[:, ::-1]),
    mixing("a masked array whose mask is one for all", lambda a: np.ma.array(a, mask=a > a.mean())),
    mixing("records out", lambda a: np.rec.fromarrays([a[:, 0], a[:, 1]], names="x,y")),
    mixing("a matrix", lambda a: np.asmatrix(a)),
    mixing("float16 for small results, else float64", lambda a: a.astype("f2" if len(a) < 8 else "f8"),
           **TENS),
)  # fmt: skip
