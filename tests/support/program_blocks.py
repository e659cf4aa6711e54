"""What drawn programs are made of: lines that work on rows one by one, lines that mix them, and what goes in.

Invariant: `row_wise` is true of a line exactly if each row of its result depends on that row of `a`, on
entries for that row and on whole constants, and not on places or on the number of rows. Values stay near 1,
and nothing cancels to nothing, so that rounding is never taken for a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a program: an expression of `a`, and of what it is given."""

    text: str
    """Its source; `{0}` is the name of the first thing it is given."""
    given: tuple[str, ...] = ()
    """What it is given, as kinds."""
    width: Callable[[int, int], int] = lambda rows, columns: columns
    """Columns of its result."""
    row_wise: bool = True
    """Whether rows stay apart."""


def mixes(text: str, *given: str) -> Line:
    """A line whose rows depend on each other, or on their places."""
    return Line(text, given, row_wise=False)


def other(rows: int) -> int:
    """Rows of what is no batch: another number."""
    return 11 if rows != 11 else 13


def normal(*shape: int) -> Callable[[Generator], Any]:
    """Makes an array of that shape."""
    return lambda rng: rng.normal(size=shape)


Maker = Callable[[int, int, Generator], Any]
KINDS: Mapping[str, Maker] = MappingProxyType(
    {
        "row": lambda rows, columns, rng: rng.normal(size=(rows, columns)),
        "column": lambda rows, columns, rng: rng.normal(size=rows),
        "floats": lambda rows, columns, rng: rng.normal(size=rows).tolist(),
        "texts": lambda rows, columns, rng: ["t" * size for size in rng.integers(0, 9, rows).tolist()],
        "ids": lambda rows, columns, rng: rng.integers(0, other(rows), rows),
        "places": lambda rows, columns, rng: rng.integers(0, rows, rows),
        "twin": lambda rows, columns, rng: rng.normal(size=(rows, columns)),
        "table": lambda rows, columns, rng: rng.normal(size=(other(rows), columns)),
        "weights": lambda rows, columns, rng: rng.normal(size=(columns, 5)) / columns,
        "bias": lambda rows, columns, rng: rng.normal(size=columns),
        "number": lambda rows, columns, rng: float(rng.normal()) + 2,
        "numbers": lambda rows, columns, rng: [0.5, 0.25, 0.75],
        "setting": lambda rows, columns, rng: SimpleNamespace(y=1.5, name="setting"),
        "holder": lambda rows, columns, rng: SimpleNamespace(y=rng.normal(size=(rows, 1))),
        "nest": lambda rows, columns, rng: SimpleNamespace(b={"y": rng.normal(size=rows).tolist()}),
        "closed": lambda rows, columns, rng: rng.normal(size=(rows, 1)),
        "shared": lambda rows, columns, rng: rng.normal(size=(rows, 1)),
    }
)
"""Makes each kind of thing from the rows of the batch and the columns of `a` at the line."""
LONG = frozenset({"row", "column", "floats", "texts", "ids", "places", "twin"})
"""Kinds with as many entries as the batch has rows."""
CLOSED, SHARED = "closed", "shared"
"""Kinds that are in the closure of a program, and in the globals of its module."""

ROW_WISE = (
    Line("np.tanh(a)"),
    Line("a / 2 + 1"),
    Line("np.abs(a)"),
    Line("np.where(a > 0, a, a / 4)"),
    Line("np.sort(a, axis=1)"),
    Line("np.cumsum(a, axis=1) / a.shape[1]"),
    Line("a / (1 + np.abs(a).sum(1, keepdims=True))"),
    Line("np.abs(a).sum(1, keepdims=True)", width=lambda rows, columns: 1),
    Line("a[:, ::-1]"),
    Line("a + {0}[None]", ("bias",)),
    Line("a @ {0}", ("weights",), lambda rows, columns: 5),
    Line("a @ {0}.T / a.shape[1]", ("table",), lambda rows, columns: other(rows)),
    Line("a @ {0}.T / a.shape[1]", ("twin",), lambda rows, columns: rows),
    Line("np.abs(a[:, None] - {0}).sum(2) / a.shape[1]", ("table",), lambda rows, columns: other(rows)),
    Line("np.abs(a[:, None] - {0}).sum(2) / a.shape[1]", ("twin",), lambda rows, columns: rows),
    Line("a + {0}[{1}]", ("table", "ids")),
    Line("a + {0}[{1}]", ("twin", "places")),
    Line("a + {0}", ("row",)),
    Line("a * {0}[:, None]", ("column",)),
    Line("a + np.array({0})[:, None]", ("floats",)),
    Line("a + np.array([[len(t) / 9] for t in {0}])", ("texts",)),
    Line("a * {0}", ("number",)),
    Line("a * sum({0})", ("numbers",)),
    Line("a * {0}.y", ("setting",)),
)
MIXING = (
    mixes("a - a.mean(0)"),
    mixes("a / (1 + np.abs(a).sum(0))"),
    mixes("a / len(a)"),
    mixes("a - a[0]"),
    mixes("a + a[-1]"),
    mixes("a[::-1]"),
    mixes("a + np.arange(len(a))[:, None]"),
    mixes("a * (1 + np.arange(len(a)) % 5)[:, None]"),
    mixes("a * (1 + np.arange(len(a)) % 2)[:, None]"),
    mixes("np.cumsum(a, axis=0) / 9"),
    mixes("np.sort(a, axis=0)"),
    mixes("a + a.argsort(axis=0)"),
    mixes("a - np.roll(a, 1, axis=0)"),
    mixes("a + np.concatenate([a[1:], a[-1:]])"),
    mixes("np.diff(a, axis=0, prepend=a[:1] * 2)"),
    mixes("a[np.random.default_rng(0).permutation(len(a))]"),
    mixes("a + a @ a.T @ a / len(a)"),
    mixes("a + {0}[: len(a)]", CLOSED),
    mixes("a + {0}[-len(a) :]", CLOSED),
    mixes("a + {0}[: len(a)]", SHARED),
    mixes("a + {0}.y[: len(a)]", "holder"),
    mixes("a + np.array({0}.b['y'])[: len(a), None]", "nest"),
    mixes("a + {0} / np.abs({0}).sum()", "row"),
    mixes("a + np.array([[len(t)] for t in sorted({0})])", "texts"),
)
ENDS = (
    Line("a"),
    Line("a.sum(1)"),
    Line("(a, a.max(1))"),
    Line("{{'y': a, 'best': a.max(1)}}"),
    Line("(a, 'model', None, 3.5)"),
    Line("{{'y': a, 'columns': a.shape[1]}}"),
    Line("[f'{{v:.4f}}' for v in a.sum(1)]"),
    Line("{{'y': a.max(1), 'label': [f'{{v:.4f}}' for v in a.sum(1)]}}"),
    Line("a.tolist()"),
)
"""What programs return, by rows."""
MIXING_ENDS = (
    mixes("(a, len(a))"),
    mixes("{{'y': a, 'shape': a.shape}}"),
    mixes("{{'y': a, 'mean': a.mean(0)}}"),
    mixes("(a, a.sum(1).argmax())"),
    mixes("(a, [str(i) for i in range(len(a))])"),
    mixes("(a, f'{{len(a)}} rows')"),
    mixes("a[a[:, 0] > 0]"),
    mixes("np.repeat(a, 2, axis=0)"),
    mixes("a.sum(0)"),
    mixes("a.T"),
    mixes("a @ a.T"),
    mixes("tuple(a.sum(1))"),
)
