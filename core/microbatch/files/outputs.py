"""The output file of a run: whole under its name, or not there.

Invariant: that of `whole_file.py`, and that the part file is made before the work, so a folder that cannot be
written is found then. Its size is reserved before rows are mapped: on a full disk a map would end the process
with SIGBUS.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from microbatch.errors import OutputFileError
from microbatch.files.places import writing
from microbatch.files.whole_file import FULL, WholeFile, refuse_input
from microbatch.options.raised import text_of

KINDS = (".npy", ".npz")


class OutputFile(WholeFile):
    """A result file in the making; as a context manager it leaves nothing behind without `commit`."""

    def __init__(self, path: Path, source: Path | None = None) -> None:
        """Raises OutputFileError if `path` cannot be written, or is the input `source`."""
        self.shape: tuple[int, ...] | None = None
        self.dtype = ""
        self._map: np.memmap[Any, Any] | None = None
        if source is not None:
            refuse_input(path, source)
        super().__init__(path, KINDS)

    @property
    def is_archive(self) -> bool:
        """Whether several arrays can be written (`.npz`)."""
        return self.path.suffix.lower() == ".npz"

    def allocate(self, shape: tuple[int, ...], like: Any) -> np.ndarray[Any, Any]:
        """For `out=` of a wrapper: the array to write rows into, a map of the file; `like` has its dtype."""
        if self.shape is not None:
            raise OutputFileError(f"the function returns several arrays and {self.path} holds one; use .npz")
        dtype = _host(self.path, "the output", like[:0]).dtype
        self.shape, self.dtype = tuple(shape), str(dtype)
        size = math.prod(shape) * dtype.itemsize
        with writing(self.path, FULL, f"needs {size:,} bytes and cannot have them"):
            if size:
                self._map = self._reserved(self.shape, dtype, size)
                return np.asarray(self._map)
            with self._opened() as file:  # an empty file cannot be mapped
                np.save(file, np.empty(shape, dtype))
        return np.empty(shape, dtype)

    def save(self, arrays: Mapping[str, Any]) -> None:
        """Write named arrays as an archive."""
        named = {name: _host(self.path, name, value) for name, value in arrays.items()}
        self.shape = next((value.shape for value in named.values()), ())
        self.dtype = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in named.items())
        with writing(self.path, FULL), self._opened() as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in named.items():  # numpy.savez takes no array of the name `file`
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    def flush(self) -> None:
        """Wait until all that was written has reached the disk."""
        with writing(self.path, FULL):
            if self._map is not None:
                self._map.flush()
            os.fsync(self._descriptor)

    def _opened(self) -> Any:
        return os.fdopen(os.dup(self._descriptor), "wb")

    def _reserved(self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> np.memmap[Any, Any]:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        with self._opened() as file:
            np.lib.format.write_array_header_2_0(file, header)
            begin = file.tell()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._descriptor, 0, begin + size)
        else:
            os.truncate(self._descriptor, begin + size)
        with os.fdopen(os.dup(self._descriptor), "r+b") as file:
            return np.memmap(file, dtype, mode="r+", offset=begin, shape=shape)


def _host(path: Path, name: str, value: Any) -> np.ndarray[Any, Any]:
    """`value` as an array of numbers on the host; a tensor with a gradient or on a device is refused."""
    try:
        array = np.asarray(value)
    except (TypeError, RuntimeError, ValueError) as error:
        raise OutputFileError(
            f"{name} is a {type(value).__name__} that cannot be written to {path} ({text_of(error)}); return"
            " it as an array on the host, without gradient"
        ) from None
    if array.dtype.hasobject:
        raise OutputFileError(f"{name} is a {type(value).__name__}, no array of numbers; return an array")
    return array
