"""Rows written by item assignment, for what is no memory of this process: datasets in files, table columns.

Invariant: one thread at a time writes to what one `out` holds, since a store that reads a chunk, changes some
rows and writes it back loses the rows that another thread put there meanwhile. Only slices are assigned: the
one kind of index that all of them take, by position and for any order of rows. What was written first is read
back and compared, once: something that does not keep what it was given is an error, not a lost result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from microbatch.arrays.comparing import equal_values
from microbatch.arrays.looks import along
from microbatch.arrays.memory import on_host
from microbatch.binding.leaf_parts import Rows
from microbatch.errors import ArgumentValueError
from microbatch.options.raised import note
from microbatch.turns.one_at_a_time import OneAtATime


class ItemRows:
    """An array that is filled by item assignment; `name` is what messages call it."""

    def __init__(self, array: Any, name: str, line: OneAtATime) -> None:
        self._kind = type(array).__name__
        self._name = name
        self._line = line
        self._items = getattr(array, "iloc", array)
        """By position: a column of a table takes numbers for labels."""
        self._kept = False

    def put(self, rows: slice | Rows, part: Any, axis: int) -> None:
        """Write `part` to `rows` along `axis`; raises ArgumentValueError if they are not there afterwards.

        The values are copied first, as a store may write them later than it says.
        """
        values = np.array(on_host(part))
        if values.size:
            self._line.run(lambda: self._write(rows, values, axis))

    def _write(self, rows: slice | Rows, values: np.ndarray[Any, Any], axis: int) -> None:
        for where, entries in _runs(rows):
            given = values[along(axis, entries)]
            try:
                self._items[along(axis, where)] = given
            except Exception as error:
                rows_written = f"rows {where.start} to {where.stop} of the result were written"
                note(error, f"while {rows_written} to {self._name}")
                raise
            if not self._kept:
                self._check_kept(where, given, axis)

    def _check_kept(self, where: slice, given: np.ndarray[Any, Any], axis: int) -> None:
        """Read the rows `where` and compare them with what was written."""
        kept = np.asarray(self._items[along(axis, where)])
        if not equal_values(kept, given):
            raise ArgumentValueError(
                f"{self._name} is a {self._kind} that does not keep the rows it is given: {where.start} to"
                f" {where.stop} of the result were written and read back as other values; pass an array that"
                " does, and copy the result from there"
            )
        self._kept = True


def _runs(rows: slice | Rows) -> Iterator[tuple[slice, Any]]:
    """Ranges of rows next to each other, each with the index of its entries in the part."""
    if isinstance(rows, slice):
        yield rows, slice(None)
        return
    order = np.argsort(rows)
    breaks = np.flatnonzero(np.diff(rows[order]) != 1) + 1
    for entries in np.split(order, breaks):
        yield slice(int(rows[entries[0]]), int(rows[entries[-1]]) + 1), entries
