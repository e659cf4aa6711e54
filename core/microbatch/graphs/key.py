"""What a captured call or step depends on, as a value that can be looked up.

Invariant: two calls with one key launch the same work on arrays of the same shapes, dtypes and device, under
the same modes of the framework. A call with an argument without such a value has no key and runs as it is.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microbatch.arrays.looks import is_array
from microbatch.extend.device import Device

PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Fixed:
    """An array on the host that a graph is captured with, and is used for where its values are the same.

    No dataclass: those are opened as containers are.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value
        """The array."""

    @property
    def key(self) -> Hashable:
        """What tells it from others."""
        values = np.asarray(self.value)
        return type(self.value), values.dtype.str, values.shape, values.tobytes()


@dataclass(frozen=True, slots=True)
class GraphKey:
    """One captured call."""

    spec: Any
    """Structure of the arguments."""
    leaves: tuple[Hashable, ...]
    """Row shape, dtype and device of each array; type and value of everything else."""
    rows: int | None
    """Rows that all arrays have along axis 0; None where they differ, so that nothing may be padded."""
    state: Hashable
    """Modes of the framework and of the function."""
    cut: Hashable = None
    """Where a captured step is cut; None for a captured call."""

    def of_rows(self, rows: int | None) -> GraphKey:
        """The key of the same call with other rows."""
        return replace(self, rows=rows)


def describe(
    spec: Any, leaves: Sequence[Any], device: Device, *, uniform: bool, modes: Hashable = None
) -> GraphKey | str:
    """The key of a call, or why it is not replayed.

    `uniform`: all arrays are cut along axis 0, as without a layout; `modes` are those of the function.
    """
    backend = device.backend
    arrays = [leaf for leaf in leaves if is_array(leaf)]
    if not arrays:
        return "there is no array among the arguments"
    if backend.differentiable(arrays):
        return "autograd records this call"
    rows = _common_rows(arrays) if uniform else None
    parts: list[Hashable] = []
    for leaf in leaves:
        if is_array(leaf):
            if not backend.owns(leaf):
                return f"an array is not on the device of {backend.name!r}"
            shape = tuple(leaf.shape)
            row = shape[1:] if rows is not None and shape else shape
            parts.append((row, str(leaf.dtype), str(getattr(leaf, "device", ""))))
        elif isinstance(leaf, Fixed):
            parts.append(leaf.key)
        elif isinstance(leaf, PLAIN):
            parts.append((type(leaf).__name__, repr(leaf)))
        else:
            return f"an argument of type {type(leaf).__name__} has no value to tell calls apart by"
    state = None if device.graph_state is None else device.graph_state.graph_state()
    return GraphKey(spec, tuple(parts), rows, (state, modes))


def _common_rows(arrays: Sequence[Any]) -> int | None:
    sizes = {int(array.shape[0]) for array in arrays if len(array.shape)}
    return sizes.pop() if len(sizes) == 1 else None
