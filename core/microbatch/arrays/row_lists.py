"""Python's own sequences that may hold an entry per row: lists, tuples, deques and ranges.

Invariant: only exact types are opened: a named tuple is a record, and a subclass may mean something else by
its length. What comes back has the type of what was cut. Texts and bytes have a length too and are values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from microbatch.arrays.looks import is_array

ROW_LISTS = frozenset({list, tuple, deque, range})
"""The types."""
_VALUES = (int, float, complex, str, bytes, type(None), np.generic)


def is_row_list(leaf: object) -> bool:
    """Whether `leaf` is a sequence whose entries may be rows."""
    return type(leaf) in ROW_LISTS


def holds_values(node: Any, sizes: Collection[int] = ()) -> bool:
    """Whether a sequence is one leaf rather than a container of leaves.

    It is where its entries are numbers and texts. A list or deque is one too where it has as many entries as
    one of `sizes`, the rows of arrays beside it, and none of its own entries is an array with that many.
    """
    if type(node) not in ROW_LISTS or not node:
        return False
    if (
        node[0] is not None
        and isinstance(node[0], _VALUES)
        and all(issubclass(kind, _VALUES) for kind in set(map(type, node)))
    ):
        return True
    if type(node) is tuple or len(node) < 2 or len(node) not in sizes:  # tuples of arrays are records
        return False
    return not any(size_of(entry) in sizes for entry in node if is_array(entry))


def size_of(leaf: Any) -> int | None:
    """Entries along the first axis of an array or row list; None for what has no rows."""
    if is_array(leaf):
        return leaf.shape[0] if len(leaf.shape) else None
    return len(leaf) if is_row_list(leaf) else None


def slice_of(leaf: Any, where: slice) -> Any:
    """The rows `where` of a row list, as one of the same type."""
    return deque(islice(leaf, where.start, where.stop)) if type(leaf) is deque else leaf[where]


def rows_at(leaf: Any, positions: Sequence[int]) -> Any:
    """The rows at `positions` of a row list, as one of the same type; of a range, a list."""
    return joined(type(leaf), (leaf[position] for position in positions))


def joined(kind: type, rows: Iterable[Any]) -> Any:
    """A row list of type `kind`; of a range, a list, as rows in any order are none."""
    return list(rows) if kind in (list, range) else kind(rows)
