"""Where the memory of an array is, how large it is, and whether it was written.

Invariant: nothing is copied except by `on_host`, whose name says so. What a framework does not tell is None,
never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microbatch.arrays.looks import is_array
from microbatch.arrays.row_types import rows_of
from microbatch.arrays.trees import leaves_of
from microbatch.errors import ArgumentTypeError


def on_host(part: Any) -> np.ndarray[Any, Any]:
    """The values of an array of any framework, for a result that the caller keeps in NumPy or in a file.

    Raises ArgumentTypeError for one whose values NumPy cannot read.
    """
    try:
        values = np.asarray(part)
    except TypeError:  # on a device: the array standard's way to ask for a copy on the host
        values = np.from_dlpack(part, device="cpu", copy=True)
    if values.shape != tuple(part.shape):  # NumPy takes what it cannot read for one object
        raise ArgumentTypeError(
            f"NumPy cannot read the values of a {type(part).__name__}; return an array that has __array__"
        )
    return values


def version_of(part: Any) -> int | None:
    """How often the memory of `part` was written, by its framework's counter; None where nothing counts."""
    try:
        return int(part._version)
    except (AttributeError, RuntimeError, TypeError, ValueError):  # torch's inference tensors keep no counter
        return None


def is_gone(array: Any) -> bool:
    """Whether its framework has let its memory go, as JAX does with what a function takes for itself."""
    asked = getattr(array, "is_deleted", None)
    return asked is not None and bool(asked())


def contents_of(array: Any, most: int) -> bytes | int | None:
    """Something that changes when the array is written: its bytes, of one on the host up to `most` bytes.

    Of any other its framework's counter, which does not count all writes (torch's none through `.data`).
    """
    if int(getattr(array, "nbytes", most + 1)) <= most and str(getattr(array, "device", "cpu")) == "cpu":
        try:
            values = np.asarray(array.detach() if hasattr(array, "detach") else array)
            made_now = values.dtype.hasobject and not isinstance(array, np.ndarray)  # other objects each time
            return None if made_now else values.tobytes()
        except (TypeError, ValueError, RuntimeError, BufferError):  # of a dtype that NumPy has not
            return version_of(array)
    return version_of(array)


def start_of(part: Any) -> int | None:
    """The address of the first byte; None where it cannot be told, or where nothing can be written."""
    if not is_array(part) or isinstance(part, np.generic) or 0 in part.shape:
        return None
    try:
        if hasattr(part, "data_ptr"):
            return int(part.data_ptr()) or None
        interface = getattr(part, "__array_interface__", None) or part.__cuda_array_interface__
        address, read_only = interface["data"]
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return None
    return None if read_only else int(address)


def stride_along(array: Any, axis: int) -> int | None:
    """The step from one entry of `axis` to the next; 0 where they share memory, None where it cannot be told.

    The unit is the framework's (bytes in NumPy, entries in torch), so only 0 means the same everywhere.
    """
    strides: Sequence[int] | None = getattr(array, "strides", None)
    if strides is not None:
        return strides[axis]
    try:
        return int(array.stride(axis))
    except (AttributeError, RuntimeError, TypeError):  # no memory of its own, or none that can be asked for
        return None


def nbytes_of(leaf: Any) -> int:
    """Bytes of an array or a table; 0 for what does not tell."""
    if isinstance(leaf, np.ndarray):
        return leaf.nbytes
    rows = rows_of(leaf)
    return int(getattr(leaf, "nbytes", 0)) if rows is None else rows.nbytes(leaf)


def result_bytes(output: Any) -> int:
    """Bytes of the arrays in an output."""
    return sum(map(nbytes_of, leaves_of(output)))
