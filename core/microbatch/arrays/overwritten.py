"""Two ubatches that return the same memory: the rows of the first are then what the second one wrote.

Invariant: what is kept until the end (collected, reduced, padded, recorded by autograd) or read while the
next ubatch runs is compared by the address of its first byte. It is refused where two parts have one address
and the memory may have been written since. A write counter that stands still (torch) proves that it was not;
without a counter, memory that can be written counts as written. Rows that are written into the result at once
need no check. Rejected: copying what is kept, which doubles the largest outputs there are, and comparing
contents, which waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbatch.arrays.memory import start_of, version_of
from microbatch.errors import OutputMismatchError

__all__ = ["check_apart", "overwritten"]


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
        if start is None:
            continue
        first = first_at.setdefault(start, index)
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
        "overwritten; return a copy from the function, or declare "
        "an output that is always the same replicate()"
    )
