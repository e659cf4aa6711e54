"""Pinned host memory, as CuPy's pool has it.

Invariant: a dropped buffer is given to the next who asks for as much, at once, whatever the device still does
with it; and a buffer is poison when it is given. Queued work holds the bytes and never the buffer.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np

from microbatch.testing.simulated.memory import POISON

UNIT = 512
"""Bytes to which sizes are rounded up, as in CuPy: a buffer also goes to who asks for a bit less or more."""


class PinnedPool:
    """Hands out buffers, and knows which host memory is pinned."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}
        self._all: dict[int, np.ndarray] = {}

    def allocate(self, size: int) -> Any:
        """A buffer of `size` bytes; no array, as those keep the owner of memory and no view of it."""
        size = -(-max(1, size) // UNIT) * UNIT
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else np.empty(size, np.uint8)
        self._all[_start(memory)] = memory
        memory[...] = POISON
        buffer = (ctypes.c_uint8 * len(memory)).from_buffer(memory.data)
        weakref.finalize(buffer, free.append, memory).atexit = False
        return buffer

    def holds(self, address: int) -> bool:
        """Whether the byte at `address` is pinned."""
        return self._of(address) is not None

    def bytes_of(self, array: np.ndarray) -> np.ndarray | None:
        """An array over the same bytes that does not keep the buffer; None where they are not pinned."""
        memory = self._of(_start(array))
        if memory is None:
            return None
        offset = _start(array) - _start(memory)
        return np.ndarray(array.shape, array.dtype, memory.data, offset, array.strides)

    def _of(self, address: int) -> np.ndarray | None:
        known = list(self._all.items())
        return next((memory for start, memory in known if 0 <= address - start < memory.nbytes), None)


def _start(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
