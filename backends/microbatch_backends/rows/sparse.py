"""Rows of scipy's sparse arrays and matrices.

Invariant: format and type of numbers stay. Formats that cannot be sliced (coordinates, diagonals, blocks) are
brought into rows for it and back, which adds up entries of one place.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

sparse: Any = import_module("scipy.sparse")
"""It carries no annotations."""
_SLICED = frozenset({"csr", "csc", "lil", "dok"})
"""Formats that can be sliced as they are."""


class SparseRows:
    """Arrays and matrices of every format."""

    def unsupported(self, rows: Any) -> str | None:
        """Those that are no table."""
        return (
            None if rows.ndim == 2 else "a sparse array needs two dimensions to be cut; pass its .toarray()"
        )

    def length(self, rows: Any) -> int:
        """Its first size."""
        return int(rows.shape[0])

    def take(self, rows: Any, where: Any) -> Any:
        """By position."""
        if rows.format in _SLICED:
            return rows[where]
        return rows.tocsr()[where].asformat(rows.format)

    def join(self, parts: Sequence[Any], order: Any = None) -> Any:
        """One below the other."""
        joined = sparse.vstack(parts, format=parts[0].format) if len(parts) > 1 else parts[0]
        return joined if order is None else self.take(joined, order)

    def read(self, rows: Any) -> Mapping[str, Any]:
        """Where each row has entries, and which."""
        table = rows.tocsr().copy()
        table.sum_duplicates()
        table.eliminate_zeros()
        cuts = table.indptr[1:-1]
        return {"column": np.split(table.indices, cuts), "value": np.split(table.data, cuts)}

    def alike(self, rows: Any) -> Hashable:
        """Format, type of numbers, and columns."""
        return rows.format, str(rows.dtype), rows.shape[1:]

    def nbytes(self, rows: Any) -> int:
        """Of the numbers and their columns, where the format tells."""
        held = (getattr(rows, "data", None), getattr(rows, "indices", None))
        return sum(int(getattr(each, "nbytes", 0)) for each in held)
