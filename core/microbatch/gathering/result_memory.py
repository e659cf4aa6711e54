"""Where a result is allocated: on the stream of whoever called the step, who will use it and drop it.

Invariant: an allocator hands freed memory to later work of the stream it came from. A result that came from a
stream of the step would, when the caller drops it, go to the next step while the caller's work still reads
it. So it comes from the caller's stream, and who writes it waits for that stream to have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microbatch.extend.protocols import Backend

Allocate = Callable[[tuple[int, ...], Any], Any]
"""allocate(shape, like) -> array: where the result of a leaf comes from."""


def from_caller(backend: Backend) -> Allocate:
    """Allocates on the calling thread's current stream, wherever it is called from later."""
    callers = backend.current_stream()

    def allocate(shape: tuple[int, ...], like: Any) -> Any:
        """An uninitialised array, ready for work of the stream that is current where this is called."""
        here = backend.current_stream()
        if here == callers:
            return backend.empty(shape, like)
        with callers.activate():
            made, ready = backend.empty(shape, like), backend.event()
            ready.record(callers)
        here.wait(ready)
        return made

    return allocate
