"""Python's own sequences that may hold an entry per row: lists, tuples, deques and ranges.

Invariant: only exact types are opened: a named tuple is a record, and a subclass may mean something else by
its length. What comes back has the type of what was cut. Texts and bytes have a length too and are values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from microbatch.arrays.looks import is_array

ROW_LISTS = frozenset({list, tuple, deque, range})
"""The types."""
_VALUES = frozenset({int, float, bool, complex, str, bytes})


def is_row_list(leaf: object) -> bool:
    """Whether `leaf` is a sequence whose entries may be rows."""
    return type(leaf) in ROW_LISTS


def holds_values(node: Any, rows: int | None = None) -> bool:
    """Whether a sequence is one leaf rather than a container of leaves.

    It is where its first entry is a number or a text; with `rows` also where it has as many entries, and none
    of them is an array with that many rows itself.
    """
    if type(node) not in ROW_LISTS or not node:
        return False
    if type(node[0]) in _VALUES:
        return True
    if rows is None or len(node) != rows:
        return False
    return not any(is_array(entry) and len(entry.shape) and entry.shape[0] == rows for entry in node)


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
