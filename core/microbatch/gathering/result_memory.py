"""Where a result is allocated on a device: on the stream of whoever called the step, who will use it and drop it.

Invariant: an allocator hands freed memory to later work of the stream it came from. A result that came from a stream of
the step would, when the caller drops it, go to the next step while the caller's work still reads it. So it comes from
the caller's stream, and who writes it waits for that stream to have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from microbatch.extend.protocols import Backend

__all__ = ["CallersStream", "allocate_again"]


class CallersStream:
    """The calling thread's current stream, for what outlives the step."""

    __slots__ = ("_backend", "_stream")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._stream = backend.current_stream()

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised array, ready for work of the stream that is current where this is called."""
        backend, here = self._backend, self._backend.current_stream()
        if here == self._stream:
            return backend.empty(shape, like)
        with self._stream.activate():
            made, ready = backend.empty(shape, like), backend.event()
            ready.record(self._stream)
        here.wait(ready)
        return made


def allocate_again(
    backend: Backend, allocate: Callable[[tuple[int, ...], Any], Any], shape: tuple[int, ...], like: Any
) -> Any:
    """A result for which memory ran out: give cached memory back and try once more.

    The parts before it filled the cache with blocks of their own size, which no result fits into.
    """
    backend.reclaim()
    try:
        return allocate(shape, like)
    except Exception as error:
        error.add_note(f"while room was made for a result of shape {shape}, before any row of it was written")
        raise
