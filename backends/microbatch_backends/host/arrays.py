"""Reading and writing rows of host arrays.

Invariant: a copy never converts values: a wrong dtype is an error, not a rounded result. Masks of masked
arrays travel with their rows.

`np.ma` is imported where it is first named, which takes 8 ms: only where arrays are not plain.

These functions are called for every part of a step. Plain arrays therefore go first and through C alone:
NumPy's `empty_like` and `copyto` pass a dispatcher written in Python, and a copy of 64 bytes took 0.8 us
there, 0.4 us here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microbatch.arrays.row_types import has_rows
from microbatch.errors import ArgumentTypeError


def is_host_array(array: object) -> bool:
    """Whether `array` has shape, dtype and slices, on the host, and no framework with a backend made it."""
    if isinstance(array, np.ndarray):
        return True
    kind = type(array)
    return not has_rows(array) and (
        all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__"))
        and not isinstance(array, np.generic)
        and kind.__module__.partition(".")[0] not in ("torch", "cupy", "jaxlib", "jax", "tensorflow")
        and not hasattr(kind, "__cuda_array_interface__")
        and getattr(array, "device", "cpu") == "cpu"
    )


def empty(shape: Sequence[int], like: Any) -> Any:
    """An uninitialised array of the class, dtype and axis order of `like`.

    A masked array comes fully masked, so that its mask exists and slices of it share it, with the value that
    stands for what is masked. NumPy asks the
    kernel for huge pages from 4 MiB on; torch does not, and filling a fresh 256 MiB result in its memory took
    1.7 times as long.
    """
    if type(like) is np.ndarray and like.flags.c_contiguous:
        return np.empty(shape, like.dtype)
    size = tuple(shape)
    if isinstance(like, np.ma.MaskedArray):
        masked: Any = np.ma  # its functions carry no annotations
        made = masked.masked_all(size, like.dtype)
        made.fill_value = like.fill_value
        return made
    if isinstance(like, np.ndarray):
        return np.empty_like(like, shape=size, subok=not isinstance(like, np.memmap))
    return np.empty(size, dtype=like.dtype)


def copy(destination: Any, source: Any) -> None:
    """Write `source` into `destination` (same shape); TypeError if dtypes differ in more than byte order."""
    if type(destination) is type(source) is np.ndarray and destination.dtype == source.dtype:
        destination[...] = source
    elif isinstance(destination, np.ndarray) and not isinstance(destination, np.ma.MaskedArray):
        np.copyto(destination, source, casting="equiv")
    else:
        destination[...] = source


def converting(destination: Any, source: Any) -> ArgumentTypeError:
    """The error of a copy between two dtypes."""
    return ArgumentTypeError(
        f"a copy from {source.dtype} to {destination.dtype} would convert values;"
        " convert the output in the function, or pass a result of its dtype"
    )


def concatenate(parts: Sequence[Any], axis: int) -> Any:
    """Join `parts` along `axis`."""
    if any(type(part) is not np.ndarray and isinstance(part, np.ma.MaskedArray) for part in parts):
        masked: Any = np.ma
        return masked.concatenate(parts, axis)
    return np.concatenate(parts, axis)


def take(array: Any, indices: Sequence[int], axis: int) -> Any:
    """Rows of `array` at `indices` along `axis`, as a new array."""
    rows = np.asarray(indices, dtype=np.intp)
    if isinstance(array, np.ndarray):
        return array.take(rows, axis)
    return np.asarray(array[:]).take(rows, axis)


def scatter(destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
    """Write rows of `source` to `destination` at `indices` along `axis`."""
    where: list[Any] = [slice(None)] * len(destination.shape)
    where[axis] = np.asarray(indices, dtype=np.intp)
    destination[tuple(where)] = source


def differentiable(arrays: Sequence[Any]) -> bool:
    """Never: nothing on the host records operations."""
    return False


def unsupported(array: Any) -> str | None:
    """Why rows of `array` cannot be cut, or None. Objects and structured records can be."""
    if type(array) is np.ndarray:
        return None
    if isinstance(array, np.matrix):
        return "a numpy.matrix keeps two axes whatever is cut; pass numpy.asarray of it"
    return None


def sparse(array: Any) -> str:
    """Why rows of a sparse array on a device cannot be cut."""
    return f"a {type(array).__name__} is sparse and has no rows to slice as views; pass its .toarray()"
