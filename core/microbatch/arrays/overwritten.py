"""Two ubatches that return the same memory: what the first one returned is then what the second one wrote.

Invariant: rows that are written into the result at once are safe from this; whatever is kept until the end (collected,
reduced, padded, recorded by autograd) or read while the next ubatch runs is compared by the address of its first
byte, and refused where it is the same memory and may have been written since. A write counter that stands still
(torch) proves that it was not; without one, memory that may be written counts as written. Rejected: copying what is
kept, which doubles the largest outputs there are, and comparing contents, which waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbatch.arrays.memory import start_of, version_of
from microbatch.errors import OutputMismatchError

__all__ = ["check_apart", "reused", "start_of", "version_of"]


def check_apart(
    name: str, parts: Sequence[Any], versions: Sequence[int | None], *, constant: bool = False
) -> None:
    """Raise OutputMismatchError where a kept part was overwritten by a later one; `versions` are from when each came.

    Constants may share memory, so there only a counter that moved says that they were written.
    """
    seen: dict[int, int] = {}
    for index, part in enumerate(parts):
        start = start_of(part)
        if start is None:
            continue
        first = seen.setdefault(start, index)
        if first == index:
            continue
        now, then = version_of(parts[first]), versions[first]
        if now is None or then is None:
            if not constant:
                raise reused(name, index, first)
        elif now != then:
            raise reused(name, index, first)


def reused(name: str, index: int, first: int) -> OutputMismatchError:
    """The error that names the output and both ubatches."""
    return OutputMismatchError(
        f"{name} of ubatch {index} is in the memory that ubatch {first} returned, which it may have overwritten; "
        "return a copy from the function, or declare an output that is always the same replicate()"
    )
