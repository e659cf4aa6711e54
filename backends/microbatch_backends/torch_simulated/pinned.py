"""Pinned host memory, which the device copies from and to while the host goes on.

Invariant: fresh pinned memory is poison, so what the host reads in it before a copy is done is not the
result by luck.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from microbatch.testing.simulated.memory import POISON


class PinnedMemory:
    """Which host memory is pinned; addresses are those of storages, forgotten when these go."""

    def __init__(self) -> None:
        self._starts: set[int] = set()

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """A pinned tensor of poison."""
        size = int(np.prod(tuple(shape), dtype=np.int64)) * dtype.itemsize
        memory = np.full(max(1, size), POISON, np.uint8)
        start = int(memory.__array_interface__["data"][0])
        self._starts.add(start)
        weakref.finalize(memory, self._starts.discard, start).atexit = False
        return torch.from_numpy(memory)[:size].view(dtype).reshape(tuple(shape))

    def holds(self, tensor: torch.Tensor) -> bool:
        """Whether the memory of `tensor` is pinned."""
        return tensor.untyped_storage().data_ptr() in self._starts


PINNED = PinnedMemory()
"""Of the process: memory may outlive the block in which it was pinned."""


def is_pinned(tensor: Any) -> bool:
    """Whether `tensor` is in pinned host memory."""
    return PINNED.holds(tensor)
