"""The `opencl` backend: one device, a queue for each purpose, buffers that are counted.

Invariant: bytes in use are those of the buffers that Python holds; OpenCL itself cannot be asked, and
allocates late, so `capacity` is kept here and a buffer beyond it raises MemoryError. A buffer dropped while
commands use it is kept alive by the runtime, so it may count as free a little early.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, copy_context
from functools import cache
from typing import Any

import numpy as np
import pyopencl as cl

from microbatch.extend.records import FailureKind, MemoryReading
from microbatch_opencl.arrays import ClArray, copy_rows, download, upload
from microbatch_opencl.streams import ClEvent, ClStream, streams_of

__all__ = ["OpenClBackend", "default_context"]

OUT_OF_MEMORY = (
    cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE,
    cl.status_code.OUT_OF_RESOURCES,
    cl.status_code.OUT_OF_HOST_MEMORY,
)
TOO_LARGE = (cl.status_code.INVALID_BUFFER_SIZE, cl.status_code.INVALID_GLOBAL_WORK_SIZE)


@cache
def default_context() -> Any:
    """The context of the first device of the first platform; PYOPENCL_CTX chooses another."""
    return cl.create_some_context(interactive=False)


class OpenClBackend:
    """One OpenCL device. `capacity` in bytes lowers what it may use."""

    name: str = "opencl"
    asynchronous: bool = True
    parallel: bool = False

    def __init__(self, context: Any = None, capacity: int | None = None) -> None:
        self.context = context or default_context()
        total = self.context.devices[0].global_mem_size
        self._capacity = total if capacity is None else min(total, capacity)
        self._in_use = self._peak = 0
        self._lock = threading.RLock()
        self._streams = streams_of(self.context)

    def stream(self, purpose: str) -> ClStream:
        """The queue for `purpose`."""
        return self._streams.of(purpose)

    def current_stream(self) -> ClStream:
        """The active queue of this thread, else one that all threads share for what is under no stream."""
        return self._streams.current()

    def event(self) -> ClEvent:
        """A new event."""
        return ClEvent()

    def memory(self) -> MemoryReading:
        """Bytes of live buffers, and what the device has."""
        used, total = self._in_use, self._capacity
        return MemoryReading(
            capacity=total,
            in_use=used,
            usable=max(0, total - used),
            peak=self._peak,
            pressure=min(1.0, used / total),
        )

    def owns(self, array: object) -> bool:
        """Whether `array` is in a buffer of this context."""
        return isinstance(array, ClArray) and array.buffer.context == self.context

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """A device array for a device array, a host array for a host array."""
        if isinstance(like, ClArray):
            return self.empty_device(shape, like)
        return np.empty(tuple(shape), like.dtype)

    def copy(self, destination: Any, source: Any) -> None:
        """Write `source` into `destination`; blocks only where device rows go to the host."""
        copy_rows(destination, source)

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        """Join `parts` along `axis`."""
        if not isinstance(parts[0], ClArray):
            return np.concatenate(parts, axis)
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        joined, start = self.empty_device(shape, parts[0]), 0
        for part in parts:
            _copy_block(joined, start, part, 0, part.shape[axis], axis)
            start += part.shape[axis]
        return joined

    def take(self, array: Any, indices: Sequence[int], axis: int) -> Any:
        """Rows at `indices` along `axis`, one copy command each."""
        if not isinstance(array, ClArray):
            return array.take(np.asarray(indices, np.intp), axis)
        shape = list(array.shape)
        shape[axis] = len(indices)
        taken = self.empty_device(shape, array)
        for place, index in enumerate(indices):
            _copy_block(taken, place, array, int(index), 1, axis)
        return taken

    def scatter(self, destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
        """Write rows to `indices` along `axis`, one copy command each."""
        if not isinstance(destination, ClArray):
            rows = source.get() if isinstance(source, ClArray) else source
            destination[(slice(None),) * axis + (np.asarray(indices, np.intp),)] = rows
            return
        for place, index in enumerate(indices):
            _copy_block(destination, int(index), source, place, 1, axis)

    def differentiable(self, arrays: Sequence[Any]) -> bool:
        """Never."""
        return False

    def unsupported(self, array: Any) -> str | None:
        """Python objects cannot go to a device."""
        return "it holds Python objects" if getattr(array.dtype, "hasobject", False) else None

    def classify(self, error: BaseException) -> FailureKind:
        """By OpenCL's status code, of the error or of what caused it."""
        seen: set[int] = set()
        link: BaseException | None = error
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            code = link.code if isinstance(link, cl.Error) else None
            if isinstance(link, MemoryError) or code in OUT_OF_MEMORY:
                return FailureKind.OOM
            if code in TOO_LARGE:
                return FailureKind.SIZE
            link = link.__cause__ or link.__context__
        return FailureKind.OTHER

    def reclaim(self) -> None:
        """Nothing: there is no pool."""

    def thread_state(self) -> Snapshot:
        """The caller's context variables."""
        return Snapshot(copy_context())

    def parallel_limits(self, workers: int) -> AbstractContextManager[None]:
        """Nothing to share out: the device has its own threads."""
        return nullcontext()

    def worker_limits(self, workers: int) -> AbstractContextManager[None]:
        """As `parallel_limits`."""
        return nullcontext()

    def staging(self, shape: Sequence[int], like: Any) -> Any:
        """Host memory for copies; pageable, which OpenCL accepts."""
        return np.empty(tuple(shape), like.dtype)

    def to_device(self, destination: ClArray, source: Any) -> None:
        """Enqueue a copy to the device."""
        upload(destination, source)

    def to_host(self, destination: Any, source: ClArray) -> None:
        """Enqueue a copy to the host."""
        download(destination, source)

    def empty_device(self, shape: Sequence[int], like: Any) -> ClArray:
        """An uninitialised device array; MemoryError beyond the capacity."""
        nbytes = max(1, math.prod(shape) * like.dtype.itemsize)
        self._count(nbytes)
        try:
            buffer = CountedBuffer(self.context, cl.mem_flags.READ_WRITE, nbytes)
        except BaseException:
            self._count(-nbytes)
            raise
        array = ClArray(buffer, 0, shape, like.dtype, self)
        weakref.finalize(buffer, self._count, -nbytes).atexit = False
        return array

    def _count(self, nbytes: int) -> None:
        with self._lock:
            if nbytes > 0 and self._in_use + nbytes > self._capacity:
                raise MemoryError(
                    f"{nbytes:,} bytes do not fit beside {self._in_use:,} of {self._capacity:,} on the "
                    "device; use smaller parts"
                )
            self._in_use += nbytes
            self._peak = max(self._peak, self._in_use)


class CountedBuffer(cl.Buffer):
    """A buffer that can be referred to weakly, which pyopencl's own cannot."""


class Snapshot:
    """Context variables of one thread, for others."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Set them, and put back what was there."""
        tokens = [(variable, variable.set(value)) for variable, value in self._context.items()]
        try:
            yield
        finally:
            for variable, token in reversed(tokens):
                variable.reset(token)


def _copy_block(target: ClArray, to: int, source: ClArray, start: int, count: int, axis: int) -> None:
    """Copy `count` entries along `axis`; a rectangle of as many rows as there are before that axis."""
    item = target.dtype.itemsize * math.prod(target.shape[axis + 1 :])
    outer = math.prod(target.shape[:axis])
    if not count or not item or not outer:
        return
    queue = target.current().queue
    for row in range(outer):
        cl.enqueue_copy(
            queue,
            target.buffer,
            source.buffer,
            byte_count=count * item,
            src_offset=source.offset + (row * source.shape[axis] + start) * item,
            dst_offset=target.offset + (row * target.shape[axis] + to) * item,
        )
