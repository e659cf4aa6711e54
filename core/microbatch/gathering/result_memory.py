"""Where results are allocated: on the stream of whoever called the step, since he will use and free them.

Invariant: an allocator hands freed memory to later work of the stream it came from. A result that came from a stream of
the step would, when the caller drops it, go to the next step while the caller's work still reads it. So it comes from
the caller's stream, and who writes it waits for that stream to have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbatch.extend.protocols import Backend, Stream
from microbatch.extend.records import FailureKind

__all__ = ["Home"]


class Home:
    """The calling thread's current stream, for what outlives the step."""

    __slots__ = ("_backend", "_stream")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._stream: Stream | None = backend.current_stream() if backend.asynchronous else None

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised array, ready for work of the stream that is current where this is called."""
        stream, here = self._stream, None if self._stream is None else self._backend.current_stream()
        if stream is None or here is None or here == stream:
            return self._made(shape, like)
        with stream.activate():
            made, ready = self._made(shape, like), self._backend.event()
            ready.record(stream)
        here.wait(ready)
        return made

    def _made(self, shape: Sequence[int], like: Any) -> Any:
        """Where it does not fit, cached memory is given back and it is tried once more.

        The parts before it filled the cache with blocks of their own size, which no result fits into.
        """
        backend = self._backend
        try:
            return backend.empty(shape, like)
        except Exception as error:
            if backend.classify(error) is not FailureKind.OOM:
                raise
        backend.reclaim()
        try:
            return backend.empty(shape, like)
        except Exception as error:
            error.add_note(
                f"while room was made for a result of shape {tuple(shape)}, before any row of it was written"
            )
            raise
