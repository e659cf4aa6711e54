"""Copies between NumPy and CuPy arrays that overlap with compute.

Invariant: a copy is asynchronous only when its host side is pinned, which the driver is asked. A copy to
pageable memory makes the host wait, because a reader would see old bytes otherwise. The pinned pool takes a
dropped buffer back at once, so the owner of a staging buffer keeps it until an event after its last copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from microbatch_backends.cupy_device.namespace import CupyNamespace

__all__ = ["is_pinned", "staging", "to_device", "to_host"]


def staging(namespace: CupyNamespace, shape: Sequence[int], like: Any) -> np.ndarray:
    """A pinned host buffer with the dtype of `like`."""
    size, dtype = tuple(shape), np.dtype(like.dtype)
    count = math.prod(size)
    if count == 0:
        return np.empty(size, dtype)
    memory = namespace.cuda.alloc_pinned_memory(count * dtype.itemsize)
    return np.frombuffer(memory, dtype, count).reshape(size)


def is_pinned(namespace: CupyNamespace, array: np.ndarray) -> bool:
    """Whether the memory of a host array is page-locked."""
    return array.size > 0 and namespace.pinned(int(array.ctypes.data))


def to_device(namespace: CupyNamespace, destination: Any, source: np.ndarray) -> None:
    """Copy host to device on the current stream; the host goes on when `source` is pinned."""
    if destination.size == 0:
        return
    if destination.flags.c_contiguous and source.flags.c_contiguous:
        destination.set(source, stream=namespace.current_stream())
    else:
        # `set` takes contiguous arrays only. The host waits where a contiguous copy was made here, since that
        # copy is dropped on return.
        whole = np.ascontiguousarray(source)
        there = namespace.cupy.empty(whole.shape, dtype=whole.dtype)
        there.set(whole, stream=namespace.current_stream())
        if whole is not source:
            namespace.current_stream().synchronize()
        namespace.cupy.copyto(destination, there)


def to_host(namespace: CupyNamespace, destination: np.ndarray, source: Any) -> None:
    """Copy device to host on the current stream; the host goes on when `destination` is pinned."""
    if destination.size == 0:
        return
    stream = namespace.current_stream()
    if not destination.flags.c_contiguous:
        destination[...] = source.get(stream=stream, blocking=True)
        return
    whole = source if source.flags.c_contiguous else namespace.cupy.ascontiguousarray(source)
    whole.get(stream=stream, out=destination, blocking=not is_pinned(namespace, destination))
