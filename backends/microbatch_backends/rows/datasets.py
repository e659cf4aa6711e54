"""Rows of what `datasets.map(batched=True)` gives a function: columns of Arrow, lists once they are read.

Invariant: a part is such a batch too, of a slice of the same columns, and what nobody reads stays unread.
Columns that were set or deleted are so in a part. What it is asked for reads from Arrow, never through the
batch: that would keep the column as a list in a batch of the caller's.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from microbatch_backends.rows.arrow import TableRows

_TABLES = TableRows()


class BatchRows:
    """`datasets.formatting.formatting.LazyBatch`."""

    def unsupported(self, rows: Any) -> None:
        """All can be cut."""

    def length(self, rows: Any) -> int:
        """Rows of its columns; `len` of a batch is how many columns there are."""
        return int(rows.pa_table.num_rows)

    def take(self, rows: Any, where: Any) -> Any:
        """By position."""
        return _batch(rows, _TABLES.take(rows.pa_table, where), {k: _taken(v, where) for k, v in _own(rows)})

    def join(self, parts: Sequence[Any], order: Any = None) -> Any:
        """One after the other; columns that were set become lists where they are of several parts."""
        tables = _TABLES.join([part.pa_table for part in parts], order)
        if len(parts) == 1 and order is None:
            return _batch(parts[0], tables, dict(_own(parts[0])))
        columns = {
            name: list(chain.from_iterable(part.data[name] for part in parts)) for name, _ in _own(parts[0])
        }
        return _batch(
            parts[0], tables, {k: v if order is None else _taken(v, order) for k, v in columns.items()}
        )

    def read(self, rows: Any) -> Mapping[str, Any]:
        """Its columns, also those that were set."""
        own = dict(_own(rows))
        return {k: list(own[k]) if k in own else rows.pa_table[k].to_pylist() for k in rows.data}

    def alike(self, rows: Any) -> Hashable:
        """The schema, and the names of its columns."""
        return _TABLES.alike(rows.pa_table), tuple(rows.data)

    def nbytes(self, rows: Any) -> int:
        """Those of Arrow."""
        return int(rows.pa_table.nbytes)


def _own(rows: Any) -> list[tuple[str, Any]]:
    """The columns that are no longer those of Arrow: read, or set."""
    return [(name, value) for name, value in rows.data.items() if name not in rows.keys_to_format]


def _batch(like: Any, table: Any, own: Mapping[str, Any]) -> Any:
    """A batch of `table` with the columns of `like`, of which some are `own`."""
    batch = type(like)(table, like.formatter)
    batch.data = {name: own.get(name) for name in like.data}
    batch.keys_to_format = set(like.keys_to_format)
    return batch


def _taken(column: Any, where: Any) -> Any:
    if isinstance(column, list) and not isinstance(where, slice):
        return [column[row] for row in np.asarray(where).tolist()]
    return column[where]
