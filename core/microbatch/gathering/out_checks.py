"""What an array of the caller must be, to take the rows of an output.

Invariant: what is accepted keeps all of a row: its values, their dtype, and what its class says besides them.
Nothing is converted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from microbatch.arrays.extents import has_address
from microbatch.arrays.looks import class_of, dtype_name, is_shaped
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.extend.protocols import Backend

_PLAIN = (np.ndarray, np.matrix, np.recarray)
"""Classes that say nothing of a row besides its numbers."""


def check_array(array: Any, shape: tuple[int, ...], like: Any, name: str) -> None:
    """Refuse an array that cannot take a result of `shape` with the class and dtype of `like`."""
    if not is_shaped(array):
        raise _no_array(array, name, (shape, like))
    if tuple(array.shape) != tuple(shape):
        raise ArgumentValueError(
            f"{name} has shape {tuple(array.shape)} but the result has {tuple(shape)}; pass that shape"
        )
    if not _same_dtype(array, like):
        raise ArgumentValueError(
            f"{name} has dtype {dtype_name(array)} but the result has {dtype_name(like)}; pass that dtype"
        )
    if isinstance(like, np.ndarray) and class_of(like) not in (*_PLAIN, class_of(array)):
        kind = class_of(like).__name__
        raise ArgumentTypeError(
            f"{name} is of class {type(array).__name__} but the result is a {kind}, which says more of a row"
            f" than its numbers; pass a {kind}"
        )


def _same_dtype(array: Any, like: Any) -> bool:
    """Whether both dtypes are one; of two frameworks, whether they have one name."""
    if isinstance(array.dtype, np.dtype) and isinstance(like.dtype, np.dtype):
        return bool(array.dtype == like.dtype)
    return array.dtype is like.dtype or dtype_name(array) == dtype_name(like)


def check_writable(array: Any, name: str, backend: Backend, wanted: tuple[Any, Any] | None = None) -> None:
    """Refuse what is no array, what is read-only, and what loses rows that are written to it.

    `wanted` is the shape of the result and an array of its dtype, where they are known.
    """
    if not is_shaped(array):
        raise _no_array(array, name, wanted)
    if len(array.shape) == 2 and hasattr(array, "iloc"):
        kind = type(array).__name__
        raise ArgumentTypeError(f"{name} is a {kind}, a table; pass an array, or a column for each output")
    if _is_read_only(array):
        raise ArgumentValueError(f"{name} is read-only; open it for writing, or pass a copy of it")
    if not hasattr(type(array), "__setitem__") and not is_memory(array, backend):
        raise ArgumentTypeError(f"{name} is a {type(array).__name__}, which takes no rows; pass an array")
    if isinstance(array, np.ma.MaskedArray) and array.hardmask:
        raise ArgumentValueError(
            f"{name} has a hard mask, which keeps rows out; call its soften_mask() before"
        )
    if getattr(array, "requires_grad", False) and backend.differentiable((array,)):
        raise ArgumentValueError(
            f"autograd records {name} and would not see what is written to it; pass its .detach(), or call"
            " under no_grad"
        )


def _no_array(value: Any, name: str, wanted: tuple[Any, Any] | None) -> ArgumentTypeError:
    size = "the result's shape" if wanted is None else f"shape {wanted[0]} and dtype {dtype_name(wanted[1])}"
    rowless = "" if name == "out" else ", or None where the output has no rows"
    return ArgumentTypeError(f"{name} is a {type(value).__name__}; pass an array of {size}{rowless}")


def _is_read_only(array: Any) -> bool:
    """Whether it says that it is, in the way of NumPy, of stores of chunks, or of array files."""
    writable = getattr(getattr(array, "flags", None), "writeable", True)
    mode = getattr(getattr(array, "file", None), "mode", None)
    return writable is False or getattr(array, "read_only", False) is True or mode == "r"


def is_memory(array: Any, backend: Backend) -> bool:
    """Whether slices of `array` are views: NumPy's, a backend's own kind, or those that tell their address.

    A backend that owns NumPy's arrays owns whatever can be sliced on the host, memory or not.
    """
    if isinstance(array, np.ndarray):
        return True
    return has_address(array) or (backend.owns(array) and not backend.owns(np.empty(0)))
