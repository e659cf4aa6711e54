"""The output file: whole under its name, or not there.

Invariant: rows go to `NAME.part-PID` in the same folder, and only a complete result is moved to `NAME`, in
one step and after it has reached the disk. The temporary file is created before the work, so a folder that
cannot be written is found then. Its size is reserved before rows are mapped: on a full disk a map would end
the process with SIGBUS. A part file whose process is gone (SIGKILL, power) is removed by the next run; the
lock on it tells a process of another machine from one that is gone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from microbatch.errors import OutputFileError
from microbatch.files.part_files import lock, remove_abandoned
from microbatch.files.places import check_place, writing
from microbatch.options.raised import text_of

KINDS = (".npy", ".npz")
FULL = "free space, or choose another folder"
"""What to do where a disk is full."""


class OutputFile:
    """A result file in the making; as a context manager it leaves nothing behind without `commit`."""

    def __init__(self, path: Path, source: Path | None = None) -> None:
        """Raises OutputFileError if `path` cannot be written, or is the input `source`."""
        self.path = path
        self.committed = False
        self.shape: tuple[int, ...] | None = None
        self.dtype = ""
        self._final = Path(os.path.realpath(path))
        self._part = self._final.with_name(f"{self._final.name}.part-{os.getpid()}")
        check_place(path, KINDS, "written")
        if source is not None and source.exists() and path.exists() and source.samefile(path):
            raise OutputFileError(f"{path} is the input file itself; choose another name")
        remove_abandoned(self._final)
        with writing(path, "choose a folder that this user may write to"):
            self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        lock(self._descriptor)
        self._map: np.memmap[Any, Any] | None = None

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
        with writing(self.path, FULL), self._opened() as file:
            np.savez(file, allow_pickle=False, **named)

    def flush(self) -> None:
        """Wait until all that was written has reached the disk."""
        if self._map is not None:
            self._map.flush()
        os.fsync(self._descriptor)

    def commit(self) -> None:
        """Give the complete file its name."""
        os.replace(self._part, self._final)
        self.committed = True
        self._close()

    def discard(self) -> None:
        """Remove the part file; harmless after `commit` and when called twice, also from another thread."""
        if not self.committed:
            self._part.unlink(missing_ok=True)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.discard()

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
        return np.memmap(self._part, dtype, mode="r+", offset=begin, shape=shape)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


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
