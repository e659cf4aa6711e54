"""Python's own sequences that may hold an entry per row: lists, tuples, deques and ranges.

Invariant: only exact types are opened: a named tuple is a record, and a subclass may mean something else by
its length. What comes back has the type of what was cut. Texts and bytes have a length too and are values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

ROW_LISTS = frozenset({list, tuple, deque, range})
"""The types."""
_VALUES = (int, float, complex, str, bytes, bytearray, memoryview, type(None), np.generic)


def is_row_list(leaf: object) -> bool:
    """Whether `leaf` is a sequence whose entries may be rows."""
    return type(leaf) in ROW_LISTS


class ListRows:
    """Counts, takes and joins the entries of such a sequence."""

    __slots__ = ()

    def unsupported(self, rows: Any) -> None:
        """All of them can be cut."""

    def length(self, rows: Any) -> int:
        """Its entries."""
        return len(rows)

    def take(self, rows: Any, where: Any) -> Any:
        """Its entries at `where`; of a range in another order, a list."""
        if not isinstance(where, slice):
            return _of_kind(type(rows), [rows[position] for position in where.tolist()])
        return deque(islice(rows, where.start, where.stop)) if type(rows) is deque else rows[where]

    def join(self, parts: Sequence[Any], order: Any = None) -> Any:
        """One of their type; of ranges a list, as rows in any order are none."""
        entries = [entry for part in parts for entry in part]
        rows = entries if order is None else [entries[place] for place in order.tolist()]
        return _of_kind(type(parts[0]), rows)

    def read(self, rows: Any) -> Mapping[str, Any]:
        """The entries themselves."""
        return {"entry": list(rows)}

    def alike(self, rows: Any) -> Hashable:
        """Nothing but the type."""
        return ()

    def nbytes(self, rows: Any) -> int:
        """Unknown."""
        return 0


LIST_ROWS = ListRows()
"""The only one: it has no state."""


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
    return not any(_first_axis(entry) in sizes for entry in node)


def _first_axis(entry: Any) -> int | None:
    shape = getattr(entry, "shape", None)
    return shape[0] if isinstance(shape, tuple) and shape else None


def _of_kind(kind: type, rows: Iterable[Any]) -> Any:
    return rows if kind is list else list(rows) if kind is range else kind(rows)
