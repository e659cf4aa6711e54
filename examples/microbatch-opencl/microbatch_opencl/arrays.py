"""Rows in a device buffer: shape, dtype, and slices along the first axis.

Invariant: an array is contiguous, and a slice is an offset into the same buffer, so it needs no sub-buffer
(whose offsets must be multiples of the device's alignment, 128 bytes on PoCL). All work is enqueued on the
stream that is current in the calling thread, and nothing is ordered with other streams.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyopencl as cl

from microbatch_opencl.streams import ClStream

__all__ = ["ClArray", "copy_rows"]


class Home(Protocol):
    """What an array needs of the backend it belongs to."""

    def current_stream(self) -> ClStream:
        """The stream to enqueue on."""
        ...

    def empty_device(self, shape: Sequence[int], like: Any) -> ClArray:
        """A new array."""
        ...


class ClArray:
    """A contiguous array of the device of `home`."""

    __slots__ = ("buffer", "dtype", "home", "offset", "shape")

    def __init__(self, buffer: Any, offset: int, shape: Sequence[int], dtype: Any, home: Home) -> None:
        self.buffer = buffer
        self.offset = offset
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.home = home

    def current(self) -> ClStream:
        """The stream that is current in this thread."""
        return self.home.current_stream()

    def empty(self) -> ClArray:
        """An uninitialised array beside this one, of its shape and dtype."""
        return self.home.empty_device(self.shape, self)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return int(self.size * self.dtype.itemsize)

    @property
    def device(self) -> str:
        """The device as text."""
        return f"opencl:{self.buffer.context.devices[0].name}"

    @property
    def first(self) -> np.uint64:
        """Where it begins in its buffer, in elements; kernels get it beside the buffer."""
        return np.uint64(self.offset // self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> ClArray:
        """Rows `array[low:high]`, no copy; TypeError for any other index."""
        rest = key[1:] if isinstance(key, tuple) else ()
        rows = key[0] if isinstance(key, tuple) and key else key
        if rows is Ellipsis or key == ():
            rows = slice(None)
        if not isinstance(rows, slice) or any(part != slice(None) for part in rest if part is not Ellipsis):
            raise TypeError(f"a device array is cut by rows only, not by {key!r}; use the backend's take()")
        low, high, step = rows.indices(self.shape[0])
        if step != 1:
            raise TypeError(f"a device array is cut in steps of 1, not {step}; use the backend's take()")
        count = max(0, high - low)
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        return ClArray(self.buffer, self.offset + low * row, (count, *self.shape[1:]), self.dtype, self.home)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Copy an array, or one number, into rows."""
        target = self[key]
        if isinstance(value, ClArray):
            copy_rows(target, value)
        elif target.size:
            pattern = np.array(value, self.dtype)
            queue = target.current().queue
            cl.enqueue_fill_buffer(queue, target.buffer, pattern, target.offset, target.nbytes)

    def get(self) -> np.ndarray[Any, Any]:
        """Its values on the host, after what is enqueued on the current stream; blocks."""
        values = np.empty(self.shape, self.dtype)
        if self.size:
            stream = self.current()
            event = cl.enqueue_copy(
                stream.queue, values, self.buffer, src_offset=self.offset, is_blocking=False
            )
            stream.hold(event, values)
            stream.synchronize()
        return values


def copy_rows(target: Any, source: Any) -> None:
    """Write `source` into `target`, device or host arrays of one shape and dtype; blocks only on the way
    to the host."""
    if tuple(target.shape) != tuple(source.shape) or target.dtype != source.dtype:
        raise TypeError(
            f"cannot copy {source.dtype}{tuple(source.shape)} into {target.dtype}{tuple(target.shape)};"
            " give arrays of one shape and dtype"
        )
    if isinstance(target, ClArray):
        if isinstance(source, ClArray):
            _device_to_device(target, source)
        else:
            upload(target, source)
    elif isinstance(source, ClArray):
        target[...] = source.get()
    else:
        np.copyto(target, source)


def _device_to_device(target: ClArray, source: ClArray) -> None:
    if target.size:
        cl.enqueue_copy(
            target.current().queue,
            target.buffer,
            source.buffer,
            byte_count=target.nbytes,
            src_offset=source.offset,
            dst_offset=target.offset,
        )


def upload(target: ClArray, source: np.ndarray[Any, Any]) -> None:
    """Enqueue a copy from host memory, which must stay as it is until the copy is done."""
    if target.size:
        stream = target.current()
        values = np.ascontiguousarray(source)
        event = cl.enqueue_copy(
            stream.queue, target.buffer, values, dst_offset=target.offset, is_blocking=False
        )
        stream.hold(event, values)


def download(target: np.ndarray[Any, Any], source: ClArray) -> None:
    """Enqueue a copy to host memory, which may be read once the current stream has come here."""
    if not target.flags.c_contiguous:
        target[...] = source.get()
    elif source.size:
        stream = source.current()
        event = cl.enqueue_copy(
            stream.queue, target, source.buffer, src_offset=source.offset, is_blocking=False
        )
        stream.hold(event, target)
