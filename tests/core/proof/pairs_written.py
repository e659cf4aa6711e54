"""Functions that write: into rows, and into arrays that all rows share.

Invariant: what they write counts as an answer; the inputs of the plain call and the wrapped one are compared
afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.core.proof.pair import Pair, floats, ids, mixing


def zeros(size: int) -> Any:
    """A table of zeros that all rows share."""
    return lambda sizes, rng: np.zeros(size)


def doubled_in_place(a: Any) -> Any:
    """Writes into the rows."""
    a *= 2
    return a


def doubled_and_silent(a: Any) -> None:
    """Writes into the rows and returns nothing."""
    a *= 2


def relu_in_place(a: Any) -> Any:
    """Twice is once: only the input shows that it was written."""
    np.maximum(a, 0, out=a)
    return a + 1


def moved(a: Any, b: Any) -> Any:
    """Writes into other rows than those it returns."""
    b[...] = a * 2
    return a


def counted(a: Any, i: Any, counts: Any) -> Any:
    """Counts ids in an array that all share."""
    counts += np.bincount(i, minlength=len(counts))
    return a * 2


def counted_and_told(a: Any, i: Any, counts: Any) -> Any:
    """The same, and the counts so far are returned."""
    np.add.at(counts, i, 1)
    return a * 2, counts


def scattered(a: Any, i: Any, sums: Any) -> Any:
    """Adds rows to those of a table."""
    np.add.at(sums, i, a[:, 0])
    return sums[i]


def marked(a: Any, i: Any, seen: Any) -> Any:
    """Marks what was seen in a table: parts may do so in any order."""
    seen[i] = 1.0
    return a * 2


def mean_kept(a: Any, mean: Any) -> Any:
    """Keeps the mean in an array that all share."""
    mean[...] = a.mean(0)
    return a * 2


WRITTEN: tuple[Pair, ...] = (
    mixing("doubled in place", doubled_in_place),
    mixing("doubled in place, nothing returned", doubled_and_silent),
    mixing("negatives cut off in place", relu_in_place),
    mixing("sorted in place", lambda a: a.sort(axis=0)),
    mixing("columns sorted in place", lambda a: a.sort(axis=1)),
    mixing("moved to other rows", moved, floats, floats),
    mixing("counts of ids", counted, floats, ids(11), lambda s, rng: np.zeros(11, int)),
    mixing("counts of ids, as many as rows", counted, floats, ids(), lambda s, rng: np.zeros(s.rows, int)),
    mixing("counts of ids, and told", counted_and_told, floats, ids(11), zeros(11)),
    mixing("rows added to a table", scattered, floats, ids(11), zeros(11)),
    mixing("marks in a table", marked, floats, ids(11), zeros(11)),
    mixing("the mean is kept", mean_kept, floats, lambda s, rng: np.zeros(s.columns)),
)  # fmt: skip
