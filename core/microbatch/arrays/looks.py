"""What an array looks like from outside: is it one, of which framework and dtype, and how a message calls it.

Invariant: only attributes are read (`shape`, `dtype`, `device`), never a value, so nothing waits for a
device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from microbatch.arrays.row_types import has_rows, rows_of
from microbatch.extend.protocols import Backend


def is_array(leaf: object) -> bool:
    """Whether `leaf` has a shape and a dtype, and no rows of another kind, as a column of a table has."""
    return type(leaf) is np.ndarray or (is_shaped(leaf) and not has_rows(leaf))


def is_shaped(leaf: object) -> bool:
    """Whether `leaf` has a shape and a dtype; the shape may be one that the framework cannot state.

    A shape is a tuple: of the class `numpy.float32` it is a descriptor, of the module `numpy` a function, and
    there are objects that have every attribute.
    """
    try:
        return isinstance(getattr(leaf, "shape", None), tuple) and hasattr(leaf, "dtype")
    except RuntimeError:  # torch's nested tensors of unequal rows raise this when asked for a shape
        return True


def size_of(leaf: Any) -> int | None:
    """Rows of an array (along its first axis), a list or a table; None for what has none."""
    rows = rows_of(leaf)
    if rows is not None:
        return rows.length(leaf)
    return leaf.shape[0] if is_array(leaf) and len(leaf.shape) else None


def framework_of(array: Any) -> str:
    """The top-level package of the array's class, such as `torch`."""
    return type(array).__module__.partition(".")[0]


def dtype_name(array: Any) -> str:
    """The name of the dtype, spelt the same for every framework, such as `float32`."""
    return str(array.dtype).rpartition(".")[2]


def class_of(array: Any) -> type:
    """What says what rows are besides numbers (masked, with a unit); a mapped file counts as plain."""
    return np.ndarray if isinstance(array, np.memmap) else type(array)


def along(axis: int, where: Any) -> Any:
    """The index that takes `where` of `axis` and everything of the axes before it."""
    return (*[slice(None)] * axis, where) if axis else where


def describe(array: Any) -> str:
    """Framework and device of an array, for messages: `a torch array on cuda:0`."""
    device = getattr(array, "device", None)
    return f"a {framework_of(array)} array" + (f" on {device}" if device is not None else "")


def on_another_device(array: Any, backend: Backend) -> str:
    """Why an output cannot be put together by a step that runs on `backend`, after `<output> is `."""
    return (
        f"{describe(array)}, and the step runs on {backend.name!r}, as its inputs do, so it would not wait "
        "for that device; pass the inputs on the device of the output, or return the output on the host"
    )


def kind_of(value: Any) -> str:
    """What a leaf is, for messages: dtype and shape of an array, a number or None itself, else its type."""
    if is_array(value):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    if value is None or isinstance(value, (bool, int, float, complex)):
        return repr(value)
    return f"a {type(value).__name__}"


def describe_constant(value: Any) -> str:
    """A constant for a message: a single number is shown, of a larger array only its dtype and shape."""
    if is_array(value) and len(value.shape) == 0:
        return repr(value.item())
    return f"a str of {len(value)} characters" if isinstance(value, str) else kind_of(value)
