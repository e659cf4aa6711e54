"""NumPy's own files: one array mapped from `.npy`, or all arrays of an `.npz`.

Invariant: nothing is unpickled, and a header is believed only as far as the file has the bytes for it. A file
that was cut short would end the process with SIGBUS in the middle of the work, and a member of an archive
that claims 80 TB would first be given that memory.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np

from microbatch.errors import InputFileError
from microbatch.files.source import Source
from microbatch.options.messages import shorten

UNREADABLE = (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError)
"""What reading a header raises; a MemoryError where it is nested too deep."""
ENCRYPTED = 0x1
"""The bit of a zip member that says so."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a `.npy` file says of its array."""

    shape: tuple[int, ...]
    """Its shape, as it is written there."""
    fortran: bool
    """Whether the first axis runs fastest."""
    dtype: np.dtype[Any]
    """The type of its values."""

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def map_npy(source: Source) -> np.ndarray[Any, Any]:
    """The array of a `.npy` file as a read-only map: rows are read from disk when a part needs them."""
    where = str(source.path)
    with source.file() as file:
        header, begin = _header(file, where, "a .npy file", "save"), file.tell()
        _refuse_short(where, source.size, begin + header.nbytes)
        if not header.nbytes:  # an empty file cannot be mapped
            return np.empty(header.shape, header.dtype)
        order: Literal["C", "F"] = "F" if header.fortran else "C"
        return np.asarray(
            np.memmap(file, header.dtype, mode="r", offset=begin, shape=header.shape, order=order)
        )


def read_npz(source: Source) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an `.npz` file by name, in the order of the file, read into memory."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    with source.file() as file, zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in arrays:
                raise InputFileError(f"{source.path} holds two arrays {name!r}; save each under its own name")
            arrays[name] = _member(source, archive, info)
    return arrays


def _member(source: Source, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    where = f"{source.path}: {info.filename!r}"
    if info.flag_bits & ENCRYPTED:
        raise InputFileError(f"{where} is encrypted; save it without a password")
    with archive.open(info) as member:
        header, begin = _header(member, where, "an array", "savez"), member.tell()
    _refuse_short(where, info.file_size, begin + header.nbytes)
    with archive.open(info) as member:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array


def _refuse_short(where: str, actual: int, expected: int) -> None:
    if actual < expected:
        raise InputFileError(
            f"{where} is cut short: {actual:,} of {expected:,} bytes are there; copy or write the file again"
        )


def _header(file: IO[bytes], where: str, what: str, writer: str) -> Header:
    """The header of `file`; raises InputFileError for what is not `what`, which numpy's `writer` writes."""
    try:
        header = _parsed(file)
    except UNREADABLE as error:
        reason = shorten(str(error).partition("\n")[0].partition(". ")[0], 200)
        raise InputFileError(f"{where} is not {what} ({reason}); write it with numpy.{writer}") from error
    if header.dtype.hasobject:
        raise InputFileError(f"{where} holds Python objects, which are never unpickled; save numbers or text")
    if header.dtype.itemsize == 0:
        raise InputFileError(f"{where} has values of no bytes ({header.dtype.str}); save numbers or text")
    if any(isinstance(size, bool) or size < 0 for size in header.shape):
        raise InputFileError(f"{where} has the shape {header.shape}, which no array has; write it again")
    return header


def _parsed(file: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return Header(*np.lib.format.read_array_header_1_0(file))
    if version in ((2, 0), (3, 0)):
        return Header(*np.lib.format.read_array_header_2_0(file))
    raise ValueError(f"format version {version} is not known")
