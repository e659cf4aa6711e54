"""Inputs whose rows are one and the same memory (expanded tensors), and whether a function wrote into them.

Invariant: reading such an input is right and costs nothing. Writing into it is not: on the whole batch torch
refuses it, on a part of one row it cannot, and each ubatch then sees what those before it wrote. Rejected:
warning of every input of this kind, as expanded masks are common, and nearly all functions only read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from microbatch.arrays.memory import stride_along, version_of

__all__ = ["SharedRows", "shared_rows"]


@dataclass(frozen=True, slots=True)
class SharedRows:
    """One such input, as it was before the step."""

    index: int
    """Its number among the leaves."""
    leaf: Any
    """The array."""
    row: tuple[Any, ...]
    """What takes one row of it."""
    before: int | bytes
    """How often its memory had been written, or what was in it."""

    def written(self) -> bool:
        """Whether its memory was written since."""
        return self.before != _state(self.leaf, self.row)


def shared_rows(leaf: Any, index: int, axis: int) -> SharedRows | None:
    """`leaf` to be watched, if its rows along `axis` share memory whose writing can be seen; else None."""
    if leaf.shape[axis] < 2 or stride_along(leaf, axis) != 0:
        return None
    row = (*[slice(None)] * axis, 0)
    state = _state(leaf, row)
    return None if state is None else SharedRows(index, leaf, row, state)


def _state(leaf: Any, row: tuple[Any, ...]) -> int | bytes | None:
    """What changes when its memory is written; None where that cannot be, or costs waiting for a device."""
    if isinstance(leaf, np.ndarray):
        return leaf[row].tobytes() if leaf.flags.writeable else None
    return version_of(leaf)
