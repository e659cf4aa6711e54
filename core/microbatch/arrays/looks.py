"""What an array looks like from outside: whether it is one, of which framework, of which dtype, and its name in a message.

Invariant: only attributes are read (`shape`, `dtype`, `device`), never a value, so nothing here waits for a device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "EVERYTHING",
    "along",
    "class_of",
    "describe",
    "describe_value",
    "dtype_name",
    "framework_of",
    "is_array",
    "kind_of",
]


def is_array(leaf: object) -> bool:
    """Whether `leaf` looks like an array: it has a shape, if only one that cannot be told, and a dtype."""
    try:
        return hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    except RuntimeError:  # torch's nested tensors of unequal rows
        return True


def describe(array: Any) -> str:
    """Framework and device of an array, for messages."""
    device = getattr(array, "device", None)
    return f"a {framework_of(array)} array" + (f" on {device}" if device is not None else "")


def framework_of(array: Any) -> str:
    return type(array).__module__.partition(".")[0]


def dtype_name(array: Any) -> str:
    """Name of a dtype, the same in every framework: `float32`."""
    return str(array.dtype).rpartition(".")[2]


def class_of(array: Any) -> type:
    """What its rows are besides numbers (masked, with a unit); a mapped file is an array like others."""
    return np.ndarray if isinstance(array, np.memmap) else type(array)


def kind_of(value: Any) -> str:
    """What a leaf is, for messages: its dtype and shape, or its type."""
    if is_array(value):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return describe_value(value)


def describe_value(value: Any) -> str:
    """A constant, short enough for a message."""
    if value is None or isinstance(value, (bool, int, float, complex)):
        return repr(value)
    return f"a {type(value).__name__}"


EVERYTHING = slice(None)


def along(axis: int, where: Any) -> Any:
    """The index that takes `where` of `axis` and everything of the axes before it."""
    return (*[EVERYTHING] * axis, where) if axis else where
