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

import numpy as np

from microbatch.batch.inputs import is_array
from microbatch.errors import OutputMismatchError

__all__ = ["check_apart", "reused", "start_of", "version_of"]


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
