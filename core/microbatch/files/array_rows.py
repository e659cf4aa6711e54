"""Rows of NumPy's own files: one array that is mapped, or the arrays of an archive, read into memory.

Invariant: a block is views; nothing is copied before a part needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microbatch.errors import InputFileError
from microbatch.files.inputs import Inputs
from microbatch.files.numpy_arrays import map_npy, read_npz
from microbatch.files.source import Origin, Source


class ArrayRows:
    """Arrays by name; an array without a name goes by position."""

    whole = True

    def __init__(
        self, source: Origin, arrays: Mapping[str, np.ndarray[Any, Any]], carried: Sequence[str] = ()
    ) -> None:
        self.source = source
        self.rows: int | None = next((len(array) for array in arrays.values() if array.ndim), None)
        if self.rows is None:
            raise InputFileError(_no_rows(source, named="" not in arrays))
        named = {name: array for name, array in arrays.items() if name and name not in carried}
        self._all = Inputs(
            source=source,
            args=(arrays[""],) if "" in arrays else (),
            kwargs=named,
            carried={name: arrays[name] for name in carried},
            rows=self.rows,
        )
        self._at = 0

    def prepare(self, parameters: Sequence[str] | None) -> None:
        """Nothing: the arrays were looked at when they were opened."""

    def skip(self, rows: int) -> None:
        """Leave out so many rows."""
        self._at += rows

    def take(self, rows: int, most_bytes: int | None = None) -> Inputs:
        """The next rows."""
        total = self._all.rows
        if self._at == 0 and rows >= total and most_bytes is None:
            self._at = total
            return self._all
        start, stop = self._at, min(total, self._at + self._fitting(rows, most_bytes))
        self._at = stop
        return self._all.part(start, stop)

    def _fitting(self, rows: int, most_bytes: int | None) -> int:
        arrays = (*self._all.args, *self._all.kwargs.values())
        each = sum(array.nbytes // max(1, len(array)) for array in arrays if array.ndim)
        return rows if most_bytes is None or not each else min(rows, max(1, most_bytes // each))


def open_npy(source: Source) -> ArrayRows:
    """The rows of a `.npy` file."""
    return ArrayRows(source, {"": map_npy(source)})


def open_npz(source: Source, carried: Sequence[str]) -> ArrayRows:
    """The rows of an `.npz` file; of arrays that are `carried`, rows go to the output only."""
    arrays = read_npz(source)
    source.settle()
    return ArrayRows(source, arrays, carried)


def _no_rows(source: Origin, *, named: bool) -> str:
    if named:
        return f"{source.path} holds no array with rows; save at least one"
    return f"{source.path} holds a single value and has no rows; save an array of rows"
