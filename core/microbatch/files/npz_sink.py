"""Several arrays by name, in an `.npz` file.

Invariant: each array has the rows of all blocks in order, or is one value that was the same in every block.
The first block says which names there are.
"""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from microbatch.errors import OutputFileError
from microbatch.files.npy_sink import filler
from microbatch.files.places import writing
from microbatch.files.protocols import Block, Piece
from microbatch.files.results import named_arrays
from microbatch.files.spool import Spool
from microbatch.files.whole_file import FULL, WholeFile


@dataclass(slots=True, kw_only=True)
class Member:
    """One array, as its blocks say it."""

    dtype: np.dtype[Any]
    row: tuple[int, ...]
    """Shape of a row; of one value, its whole shape."""
    by_rows: bool
    """Whether it has an entry for each row."""
    rows: int = 0
    places: list[tuple[int, int]] = field(default_factory=list)
    """Where its values are in the spool, and their bytes."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, *self.row) if self.by_rows else self.row


class NpzSink:
    """Rows of several arrays."""

    whole = False

    def __init__(self, file: WholeFile) -> None:
        self.file = file
        self.shape: tuple[int, ...] | None = None
        self.dtype = ""
        self._spool = Spool(file)
        self._members: dict[str, Member] | None = None

    def expect(self, rows: int | None) -> None:
        """Nothing to prepare."""

    def out(self, start: int, rows: int) -> None:
        """A step returns its result."""

    def store(self, block: Block) -> None:
        """Take the arrays of a block."""
        found = [(piece, named_arrays(self.file.path, piece.result, piece.rows)) for piece in block.pieces]
        if not found and self._members is None:
            raise OutputFileError(f"{self.file.path} needs a row that did not fail, to know what rows are")
        if self._members is None:
            piece, arrays = found[0]
            self._members = {name: _member(array, piece.rows) for name, array in arrays.items()}
        self._check(block, found)
        for name, member in self._members.items():
            self._add(member, block.rows, _joined(member, block.rows, [(p, a[name]) for p, a in found]))
        self._tell()

    def state(self) -> Mapping[str, Any]:
        """The length of the spool; what is in it says the rest."""
        names = {name: member.by_rows for name, member in (self._members or {}).items()}
        return {"bytes": self._spool.size, "names": names}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Read the heads of what is in the spool."""
        self._spool.go_on(state["bytes"])
        self._members = None
        names: Mapping[str, bool] = state["names"]
        frames = list(self._spool.frames())
        members: dict[str, Member] = {}
        with self._spool.opened() as file:
            for index, (at, length) in enumerate(frames):
                name = list(names)[index % len(names)]
                shape, dtype, begin = _head(file, at)
                by_rows = names[name]
                row = shape[1:] if by_rows else shape
                member = members.setdefault(name, Member(dtype=dtype, row=row, by_rows=by_rows))
                member.rows += shape[0] if by_rows else 0
                member.places.append((begin, at + length - begin))
        self._members = members
        self._tell()

    def start_anew(self) -> None:
        """Forget all frames."""
        self._members = None
        self._spool.go_on(0)

    def flush(self) -> None:
        """Wait until all has reached the disk."""
        self._spool.flush()

    def finish(self, make: Callable[[], WholeFile]) -> WholeFile:
        """Write the archive into the file that `make` opens."""
        file = make()
        with (
            writing(file.path, FULL),
            os.fdopen(os.dup(file.descriptor), "wb") as target,
            zipfile.ZipFile(target, "w") as archive,
            self._spool.opened() as source,
        ):
            for name, member in (
                self._members or {}
            ).items():  # numpy.savez takes no array of the name `file`
                with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                    _write(member, source, out)
        return file

    def _check(self, block: Block, found: list[tuple[Piece, dict[str, np.ndarray[Any, Any]]]]) -> None:
        assert self._members is not None
        for piece, arrays in found:
            if arrays.keys() != self._members.keys():
                raise OutputFileError(
                    f"{block.text}: the function returned the arrays {', '.join(arrays)}, and before "
                    f"{', '.join(self._members)}; return the same names for all rows"
                )
            for name, member in self._members.items():
                self._check_one(block, name, member, arrays[name], piece.rows)

    def _check_one(
        self, block: Block, name: str, member: Member, array: np.ndarray[Any, Any], rows: int
    ) -> None:
        row = array.shape[1:] if member.by_rows else array.shape
        if array.dtype.kind in "SU" and member.dtype.kind == array.dtype.kind and row == member.row:
            if array.dtype != member.dtype and (member.places or not member.by_rows):
                raise OutputFileError(
                    f"texts in {self.file.path} would all be as wide as the widest, which is not known yet; "
                    "use "
                    ".jsonl or .parquet"
                )
            return
        if (array.dtype, row) != (member.dtype, member.row) or (
            member.by_rows and array.shape[:1] != (rows,)
        ):
            raise OutputFileError(
                f"{block.text}: {name} is {list(array.shape)} {array.dtype}, and before its rows were "
                f"{list(member.row)} {member.dtype}; return arrays of one type with an entry for each row"
            )
        if not member.by_rows and member.places and not _equal(array, self._value(member)):
            raise OutputFileError(
                f"{block.text}: {name} has no entry for each row, and another value than before; return an "
                "array"
                " with an entry for each row"
            )

    def _value(self, member: Member) -> np.ndarray[Any, Any]:
        at, length = member.places[0]
        data = os.pread(self.file.descriptor, length, at)
        return np.frombuffer(data, member.dtype).reshape(member.row)

    def _add(self, member: Member, rows: int, array: np.ndarray[Any, Any]) -> None:
        head = io.BytesIO()
        np.lib.format.write_array_header_2_0(head, _described(array.shape, array.dtype))
        begin = self._spool.size + 8 + head.tell()
        values = np.ascontiguousarray(array)
        self._spool.add(head.getvalue(), _bytes(values))
        member.places.append((begin, values.nbytes))
        member.rows += rows if member.by_rows else 0

    def _tell(self) -> None:
        members = self._members or {}
        self.shape = next((member.shape for member in members.values()), ())
        said = (f"{name} {member.dtype}{list(member.shape)}" for name, member in members.items())
        self.dtype = ", ".join(said)


def _member(array: np.ndarray[Any, Any], rows: int) -> Member:
    by_rows = array.ndim > 0 and len(array) == rows
    return Member(dtype=array.dtype, row=array.shape[1:] if by_rows else array.shape, by_rows=by_rows)


def _joined(
    member: Member, rows: int, found: list[tuple[Piece, np.ndarray[Any, Any]]]
) -> np.ndarray[Any, Any]:
    if found and (not member.by_rows or found[0][0].rows == rows):
        return found[0][1]
    if not member.by_rows:
        return np.empty(member.row, member.dtype)  # no row of this block gave one; the first block did
    array = np.full((rows, *member.row), filler(member.dtype), member.dtype)
    for piece, values in found:
        array[piece.start : piece.start + piece.rows] = values
    return array


def _head(file: IO[bytes], at: int) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    file.seek(at)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype, file.tell()


def _write(member: Member, source: IO[bytes], out: IO[bytes]) -> None:
    np.lib.format.write_array_header_2_0(out, _described(member.shape, member.dtype))
    for at, length in member.places if member.by_rows else member.places[:1]:
        source.seek(at)
        shutil.copyfileobj(_Limited(source, length), out, 1 << 20)


class _Limited:
    """The next bytes of a file, as a file that ends."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file = file
        self._left = left

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data


def _described(shape: tuple[int, ...], dtype: np.dtype[Any]) -> dict[str, Any]:
    return {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}


def _bytes(array: np.ndarray[Any, Any]) -> bytes | memoryview:
    if array.nbytes == 0 or array.ndim == 0:
        return array.tobytes()
    flat: Any = array.view(np.uint8).reshape(-1)
    return memoryview(flat)


def _equal(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
