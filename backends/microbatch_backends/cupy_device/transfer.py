"""Copies between NumPy and CuPy arrays that overlap with compute.

Invariant: a copy is asynchronous only when its host side is pinned, which the driver is asked. A copy to
pageable memory makes the host wait, because a reader would see old bytes otherwise, and so does one from it:
CUDA says no more than that such a copy may be staged before the call returns. The pinned pool takes a dropped
buffer back at once, so the owner of a staging buffer keeps it until an event after its last copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from microbatch_backends.cupy_device.namespace import CupyNamespace

HOST_MEMORY = 1
"""cudaMemoryTypeHost: page-locked, or registered."""


class CupyTransfer:
    """The methods of a backend that copy between the host and the devices of its namespace."""

    _namespace: CupyNamespace

    def staging(self, shape: Sequence[int], like: Any) -> np.ndarray:
        """A pinned host buffer with the dtype of `like`."""
        size, dtype = tuple(shape), np.dtype(like.dtype)
        count = math.prod(size)
        if count == 0:
            return np.empty(size, dtype)
        memory = self._namespace.cuda.alloc_pinned_memory(count * dtype.itemsize)
        return np.frombuffer(memory, dtype, count).reshape(size)

    def empty_device(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised device array with the dtype of `like`."""
        return self._namespace.cupy.empty(tuple(shape), dtype=like.dtype)

    def to_device(self, destination: Any, source: np.ndarray) -> None:
        """Copy host to device on the current stream; the host goes on when `source` is pinned."""
        if destination.size == 0:
            return
        stream = self._namespace.current_stream()
        # `set` takes contiguous arrays only.
        whole = np.ascontiguousarray(source)
        there = destination if destination.flags.c_contiguous else self.empty_device(whole.shape, whole)
        there.set(whole, stream=stream)
        if not is_pinned(self._namespace, whole):
            stream.synchronize()
        if there is not destination:
            self._namespace.cupy.copyto(destination, there)

    def to_host(self, destination: np.ndarray, source: Any) -> None:
        """Copy device to host on the current stream; the host goes on when `destination` is pinned."""
        if destination.size == 0:
            return
        stream = self._namespace.current_stream()
        if not destination.flags.c_contiguous:
            destination[...] = source.get(stream=stream, blocking=True)
            return
        whole = source if source.flags.c_contiguous else self._namespace.cupy.ascontiguousarray(source)
        whole.get(stream=stream, out=destination, blocking=not is_pinned(self._namespace, destination))


def is_pinned(namespace: CupyNamespace, array: np.ndarray) -> bool:
    """Whether the driver knows the memory of a host array, and so copies it while the host goes on."""
    if array.size == 0:
        return False
    return int(namespace.runtime.pointerGetAttributes(array.ctypes.data).type) == HOST_MEMORY
