"""Rows of Arrow: tables, record batches, columns in chunks and in one piece.

Invariant: the schema is that of the parts; nothing is converted. Slices are views, and a joined table or
column keeps the pieces of its parts, so joining copies nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from importlib import import_module
from typing import Any

pyarrow: Any = import_module("pyarrow")
"""It carries no annotations."""


class ArrayRows:
    """Columns in one piece."""

    def unsupported(self, rows: Any) -> None:
        """All can be cut."""

    def length(self, rows: Any) -> int:
        """Its rows."""
        return len(rows)

    def take(self, rows: Any, where: Any) -> Any:
        """By position."""
        if isinstance(where, slice):
            start, stop, _ = where.indices(len(rows))
            return rows.slice(start, max(0, stop - start))
        return rows.take(pyarrow.array(where))

    def join(self, parts: Sequence[Any], order: Any = None) -> Any:
        """One after the other."""
        joined = self._joined(parts) if len(parts) > 1 else parts[0]
        return joined if order is None else self.take(joined, order)

    def read(self, rows: Any) -> Mapping[str, Any]:
        """Its entries as Python has them."""
        return {"entry": rows.to_pylist()}

    def alike(self, rows: Any) -> Hashable:
        """Its type."""
        kind: Hashable = rows.type
        return kind

    def nbytes(self, rows: Any) -> int:
        """What it says itself."""
        return int(rows.nbytes)

    def _joined(self, parts: Sequence[Any]) -> Any:
        return pyarrow.concat_arrays(parts)


class ChunkedRows(ArrayRows):
    """Columns in chunks."""

    def _joined(self, parts: Sequence[Any]) -> Any:
        chunks = [chunk for part in parts for chunk in part.chunks]
        return pyarrow.chunked_array(chunks, type=parts[0].type)


class TableRows(ArrayRows):
    """Tables."""

    def read(self, rows: Any) -> Mapping[str, Any]:
        """Columns by their place, since names may occur twice."""
        return {str(place): column.to_pylist() for place, column in enumerate(rows.columns)}

    def alike(self, rows: Any) -> Hashable:
        """The schema, and what is said about it."""
        return rows.schema.to_string(), str(rows.schema.metadata)  # older schemas cannot be hashed

    def _joined(self, parts: Sequence[Any]) -> Any:
        return pyarrow.concat_tables(parts)


class BatchRows(TableRows):
    """Record batches."""

    def _joined(self, parts: Sequence[Any]) -> Any:
        table = pyarrow.Table.from_batches(parts)
        columns = [column.combine_chunks() for column in table.columns]
        return pyarrow.RecordBatch.from_arrays(columns, schema=table.schema)
