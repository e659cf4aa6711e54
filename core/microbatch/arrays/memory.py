"""Where the memory of an array is, how large it is, and whether it was written.

Invariant: nothing is copied but by `on_host`, whose name says so. What a framework does not tell is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optree

from microbatch.arrays.looks import is_array

__all__ = ["on_host", "result_bytes", "start_of", "stride_along", "version_of"]


def on_host(part: Any) -> np.ndarray[Any, Any]:
    """The values of an array of another framework, for a result that the caller keeps in NumPy (or a file)."""
    try:
        return np.asarray(part)
    except TypeError:  # on a device: the array standard's way to ask for a copy on the host
        return np.from_dlpack(part, device="cpu", copy=True)


def version_of(part: Any) -> int | None:
    """How often the memory of `part` was written, by its framework's count; None where nothing counts."""
    try:
        return int(part._version)
    except (AttributeError, RuntimeError, TypeError, ValueError):  # inference tensors keep no counter
        return None


def start_of(part: Any) -> int | None:
    """The address of its first byte; None where that cannot be told, or where nothing can be written."""
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


def stride_along(leaf: Any, axis: int) -> int | None:
    strides: Sequence[int] | None = getattr(leaf, "strides", None)
    if strides is not None:
        return strides[axis]
    try:
        return int(leaf.stride(axis))
    except (AttributeError, RuntimeError, TypeError):  # no memory of its own, or none that can be asked for
        return None


def result_bytes(output: Any) -> int:
    """Bytes of the arrays in an output."""
    leaves = optree.tree_leaves(output, none_is_leaf=True, namespace="microbatch")
    return sum(int(getattr(leaf, "nbytes", 0)) for leaf in leaves)
