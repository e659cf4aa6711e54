"""One array, in a `.npy` file.

Invariant: that of `whole_file.py`. Rows are written through a map of the part file, by the step itself where
it can; their bytes are reserved before, since on a full disk a map would end the process with SIGBUS. All are
reserved with the first block where the number of rows is known, so that a disk that is too small is found
then. The head is written last; its room is kept, as numpy's own head has some to spare.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from microbatch.errors import OutputFileError
from microbatch.files.places import writing
from microbatch.files.protocols import Allocate, Block
from microbatch.files.results import on_host
from microbatch.files.whole_file import FULL, WholeFile

KIND = ".npy"
REMEDY = "use .npz for several arrays, .parquet or .jsonl for texts, lists and tables"


class NpySink:
    """Rows of one array."""

    whole = True

    def __init__(self, file: WholeFile) -> None:
        self.file = file
        self.shape: tuple[int, ...] | None = None
        self.dtype = ""
        self._row: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._begin = 0
        self._total: int | None = None
        self._rows = 0
        self._reserved = 0
        self._map: np.memmap[Any, Any] | None = None
        self._given = 0

    def expect(self, rows: int | None) -> None:
        """How many rows there will be."""
        self._total = rows

    def out(self, start: int, rows: int) -> Allocate:
        """Where to write: the map of these rows."""
        self._given = 0

        def allocate(shape: tuple[int, ...], like: Any) -> np.ndarray[Any, Any]:
            if self._given:
                raise OutputFileError(
                    f"the function returns several arrays and {self.file.path} holds one; use .npz"
                )
            self._given = 1
            return self._mapped(start, shape, on_host(self.file.path, "the output", like[:0]).dtype)

        return allocate

    def store(self, block: Block) -> None:
        """Take rows that the step has not written itself."""
        given, self._given = self._given, 0
        if not (given and len(block.pieces) == 1 and block.pieces[0].rows == block.rows):
            self._write(block)
        self._rows = block.start + block.rows
        self._tell()

    def state(self) -> Mapping[str, Any]:
        """Shape and type of a row; how many there are is said by the journal."""
        assert self._row is not None, "rows were stored"
        return {
            "row": list(self._row[0]),
            "dtype": np.lib.format.dtype_to_descr(self._row[1]),
            "rows": self._rows,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on after these rows."""
        self._set_row(tuple(state["row"]), np.dtype(_descr(state["dtype"])))
        self._rows = state["rows"]
        self._reserved = os.fstat(self.file.descriptor).st_size
        if self._reserved < self._begin + self._rows * self._bytes:
            raise OutputFileError(
                f"{self.file.part} is shorter than its journal says; remove it to begin anew"
            )
        self._tell()

    def start_anew(self) -> None:
        """Forget all rows."""
        self._row, self._rows, self._reserved, self.shape = None, 0, 0, None
        os.ftruncate(self.file.descriptor, 0)

    def flush(self) -> None:
        """Wait until rows have reached the disk."""
        with writing(self.file.path, FULL):
            if self._map is not None:
                self._map.flush()
            os.fsync(self.file.descriptor)

    def finish(self, make: Callable[[], WholeFile]) -> WholeFile:
        """Write the head, and cut off what was reserved and not needed."""
        if self._row is None:
            kind = "no array with a row for each input row"
            raise OutputFileError(f"the function returned {kind}; return an array, or {REMEDY}")
        with writing(self.file.path, FULL):
            head = _head((self._rows, *self._row[0]), self._row[1])
            assert len(head) == self._begin, "numpy keeps room for the number of rows to grow"
            os.pwrite(self.file.descriptor, head, 0)
            os.ftruncate(self.file.descriptor, self._begin + self._rows * self._bytes)
        return self.file

    @property
    def _bytes(self) -> int:
        """Of a row."""
        assert self._row is not None
        return math.prod(self._row[0]) * self._row[1].itemsize

    def _write(self, block: Block) -> None:
        arrays = [(piece, self._array(piece.result, piece.rows)) for piece in block.pieces]
        if not arrays:
            if self._row is None:
                raise OutputFileError(
                    f"{self.file.path} needs a row that did not fail, to know what rows are"
                )
            self._mapped(block.start, (block.rows, *self._row[0]), self._row[1])[...] = filler(self._row[1])
            return
        first = arrays[0][1]
        target = self._mapped(block.start, (block.rows, *first.shape[1:]), first.dtype)
        if sum(piece.rows for piece, _ in arrays) < block.rows:
            target[...] = filler(first.dtype)
        for piece, array in arrays:
            self._check_row(block.start, array.shape[1:], array.dtype)
            target[piece.start : piece.start + piece.rows] = array

    def _array(self, result: Any, rows: int) -> np.ndarray[Any, Any]:
        if isinstance(result, (tuple, dict)) or not hasattr(result, "__len__") or hasattr(result, "columns"):
            raise self._refused(result)
        array = on_host(self.file.path, "the output", result)
        if array.ndim == 0 or len(array) != rows or array.dtype.kind in "SU" and isinstance(result, list):
            raise self._refused(result)
        return array

    def _refused(self, result: Any) -> OutputFileError:
        return OutputFileError(
            f"the function returned {type(result).__name__}, no array with a row for each input row; return "
            "an "
            f"array, or {REMEDY}"
        )

    def _mapped(self, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """A map of the rows from `start` on."""
        self._check_row(start, shape[1:], dtype)
        stop = start + shape[0]
        if dtype.kind in "SU" and stop != self._total:
            raise OutputFileError(
                f"texts in {self.file.path} would all be as wide as the widest, which is not known yet; use "
                ".txt,"
                " .jsonl or .parquet"
            )
        self._reserve(stop if self._total is None else max(stop, self._total))
        if not shape[0] * self._bytes:
            return np.empty(shape, dtype)
        at = self._begin + start * self._bytes
        with writing(self.file.path, FULL), os.fdopen(os.dup(self.file.descriptor), "r+b") as file:
            self._map = np.memmap(file, dtype, mode="r+", offset=at, shape=shape)
        return np.asarray(self._map)

    def _check_row(self, start: int, row: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if self._row is None:
            self._set_row(tuple(row), dtype)
        elif self._row != (tuple(row), dtype) and start > 0:
            before = f"{list(self._row[0])} {self._row[1]}"
            raise OutputFileError(
                f"{self.file.path}: rows from {start:,} on are {list(row)} {dtype} and those before are "
                f"{before}; "
                "return rows of one shape and type"
            )
        elif self._row != (tuple(row), dtype):
            self._set_row(tuple(row), dtype)

    def _set_row(self, row: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._row = row, dtype
        self._begin = len(_head((0, *row), dtype))
        self._reserved = 0

    def _reserve(self, rows: int) -> None:
        size = self._begin + rows * self._bytes
        if size <= self._reserved:
            return
        needed = rows * self._bytes
        with writing(self.file.path, FULL, f"needs {needed:,} bytes and cannot have them"):
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.file.descriptor, 0, size)
            else:
                os.truncate(self.file.descriptor, size)
        self._reserved = size

    def _tell(self) -> None:
        if self._row is not None:
            self.shape, self.dtype = (self._rows, *self._row[0]), str(self._row[1])


def filler(dtype: np.dtype[Any]) -> Any:
    """What stands in the rows that failed: NaN, NaT, and where there is none, zero, False or no text."""
    if dtype.kind in "fc":
        return np.nan
    return np.array("NaT", dtype) if dtype.kind in "mM" else np.zeros((), dtype)


def _head(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    file = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, described)
    return file.getvalue()


def _descr(found: Any) -> Any:
    """As numpy wants it: JSON makes lists of the tuples of records."""
    if not isinstance(found, list):
        return found
    return [(name, _descr(kind), *map(tuple, shape)) for name, kind, *shape in found]
