"""Rows of polars: frames and series.

Invariant: the schema is that of the parts, which have one schema; nothing is converted.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from importlib import import_module
from typing import Any

polars: Any = import_module("polars")
"""Loaded when its first frame is met."""


class FrameRows:
    """Frames and series."""

    def unsupported(self, rows: Any) -> None:
        """All can be cut."""

    def length(self, rows: Any) -> int:
        """Its height."""
        return len(rows)

    def take(self, rows: Any, where: Any) -> Any:
        """By position."""
        return rows[where]

    def join(self, parts: Sequence[Any], order: Any = None) -> Any:
        """One below the other."""
        joined = polars.concat(parts, how="vertical") if len(parts) > 1 else parts[0]
        return joined if order is None else joined[order]

    def read(self, rows: Any) -> Mapping[str, Any]:
        """Columns as Python has them."""
        columns = [rows] if isinstance(rows, polars.Series) else rows.get_columns()
        return {column.name: column.to_list() for column in columns}

    def alike(self, rows: Any) -> Hashable:
        """The schema, or name and type."""
        if isinstance(rows, polars.Series):
            return rows.name, rows.dtype
        return tuple(rows.schema.items())

    def nbytes(self, rows: Any) -> int:
        """As polars estimates it."""
        return int(rows.estimated_size())


class LazyRows(FrameRows):
    """Plans of frames, which have no rows yet."""

    def unsupported(self, rows: Any) -> str:  # type: ignore[override]
        """None can be cut."""
        return "a LazyFrame has no rows yet; pass its .collect()"

    def length(self, rows: Any) -> int:
        """None that are there."""
        return 0

    def alike(self, rows: Any) -> Hashable:
        """Nothing is known without running the plan."""
        return id(rows)

    def nbytes(self, rows: Any) -> int:
        """None."""
        return 0
