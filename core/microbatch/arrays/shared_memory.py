"""Memory that two places share: was it written while it must stay as it was?

Two ubatches that return the same memory: the rows of the first are then what the second one wrote. Invariant:
what is kept until the end (collected, reduced, padded, recorded by autograd) or read while the next ubatch
runs is compared by the address of its first byte. It is refused where two parts have one address and the
memory may have been written since. A write counter that stands still (torch) proves that it was not; without
a counter, memory that can be written counts as written. Rows that are written into the result at once need no
check. Rejected: copying what is kept, which doubles the largest outputs there are, and comparing contents,
which waits for the device.

Inputs whose rows are one and the same memory (expanded tensors): reading one is right and costs nothing.
Writing into it is not: on the whole batch torch refuses it, on a part of one row it cannot, and each ubatch
then sees what those before it wrote. Rejected: warning of every such input, as expanded masks are common, and
nearly all functions only read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from microbatch.arrays.looks import along
from microbatch.arrays.memory import start_of, stride_along, version_of
from microbatch.errors import OutputMismatchError


def check_apart(
    name: str, parts: Sequence[Any], versions: Sequence[int | None], *, constant: bool = False
) -> None:
    """Raise OutputMismatchError where a later part may have overwritten a kept one.

    `versions` are the write counts of the parts when each was returned. Constants may share memory, so of
    those only a counter that moved is refused.
    """
    first_at: dict[int, int] = {}
    for index, part in enumerate(parts):
        start = start_of(part)
        first = index if start is None else first_at.setdefault(start, index)
        if first == index:
            continue
        now, then = version_of(parts[first]), versions[first]
        counted = now is not None and then is not None
        if now != then if counted else not constant:
            raise overwritten(name, index, first)


def overwritten(name: str, index: int, first: int) -> OutputMismatchError:
    """The error that names the output and both ubatches."""
    return OutputMismatchError(
        f"{name} of ubatch {index} is in the memory that ubatch {first} returned, so the earlier rows may be "
        "overwritten; return a copy from the function, or declare an output that is always the same "
        "replicate()"
    )


class SharedRows(Struct, frozen=True):
    """An input whose rows are one and the same memory, as it was before the step."""

    index: int
    """Its number among the leaves."""
    leaf: Any
    """The array."""
    row: Any
    """The index that takes one row of it."""
    before: int | bytes
    """How often its memory had been written, or what was in it."""

    def written(self) -> bool:
        """Whether its memory was written since."""
        return self.before != _state(self.leaf, self.row)


def shared_rows(leaf: Any, index: int, axis: int) -> SharedRows | None:
    """`leaf` to be watched, if its rows along `axis` share memory whose writing can be seen; else None."""
    if leaf.shape[axis] < 2 or stride_along(leaf, axis) != 0:
        return None
    row = along(axis, 0)
    state = _state(leaf, row)
    return None if state is None else SharedRows(index, leaf, row, state)


def _state(leaf: Any, row: Any) -> int | bytes | None:
    """What changes when its memory is written; None where that cannot be, or costs waiting for a device."""
    if isinstance(leaf, np.ndarray):
        return leaf[row].tobytes() if leaf.flags.writeable else None
    return version_of(leaf)
