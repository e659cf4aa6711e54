"""Host memory that a queued copy reads or writes.

Invariant: queued work keeps no array of the program's. Pinned bytes stay with their pool; of other memory it
is known when the copy runs whether its owner is still there. If not, others may have the memory: what is read
there is poison, and nothing is written.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from microbatch.testing.simulated.memory import POISON
from microbatch_backends.cupy_simulated.pinned import PinnedPool


class HostBytes:
    """The bytes of a contiguous array."""

    __slots__ = ("_bytes", "_owner")

    def __init__(self, array: np.ndarray, pool: PinnedPool) -> None:
        pinned = pool.bytes_of(array)
        self._owner: Callable[[], Any] = _weak(array) if pinned is None else lambda: pinned
        self._bytes = _unowned(array)

    def write(self, values: np.ndarray) -> None:
        """Copy `values` there."""
        if self._owner() is not None:
            np.copyto(self._bytes, values)

    def read_into(self, target: np.ndarray) -> None:
        """Copy from there."""
        if self._owner() is None:
            target.view(np.uint8)[...] = POISON
        else:
            np.copyto(target, self._bytes)


def _weak(array: np.ndarray) -> Callable[[], Any]:
    """Gives what owns the memory of `array`, as long as it is there; what cannot be watched stays."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and owner.base is not None:
        owner = owner.base
    return weakref.ref(owner) if isinstance(owner, np.ndarray) else lambda: array


def _unowned(array: np.ndarray) -> np.ndarray:
    """An array over the same bytes that keeps nothing alive."""
    memory: Any = (ctypes.c_uint8 * max(1, array.nbytes)).from_address(array.__array_interface__["data"][0])
    return np.ndarray(array.shape, array.dtype, memory)
