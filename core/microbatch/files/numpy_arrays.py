"""NumPy's own files: one array mapped from `.npy`, or all arrays of an `.npz`.

Invariant: nothing is unpickled, and a file that was cut short is refused before anything runs: mapped, it
would end the process with SIGBUS in the middle of the work.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from microbatch.errors import InputFileError


def map_npy(path: Path) -> np.ndarray[Any, Any]:
    """The array of a `.npy` file as a read-only map: rows are read from disk when a part needs them."""
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = _header(file)
            begin = file.tell()
            actual = os.fstat(file.fileno()).st_size
    except ValueError as error:
        raise InputFileError(f"{path} is not a .npy file ({error}); write it with numpy.save") from None
    if dtype.hasobject:
        raise InputFileError(
            f"{path} holds Python objects, which are never unpickled; save numbers or text lines"
        )
    expected = begin + math.prod(shape) * dtype.itemsize
    if actual < expected:
        raise InputFileError(
            f"{path} is cut short: {actual:,} of {expected:,} bytes are there; copy or write the file again"
        )
    if expected == begin:
        return np.empty(shape, dtype)
    order: Literal["C", "F"] = "F" if fortran else "C"
    return np.asarray(np.memmap(path, dtype, mode="r", offset=begin, shape=shape, order=order))


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an `.npz` file by name, in the order of the file, read into memory."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputFileError(
            f"{path} cannot be read ({reason}); write it with numpy.savez and no objects in it"
        ) from None


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version in ((2, 0), (3, 0)):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"format version {version} is not known")
