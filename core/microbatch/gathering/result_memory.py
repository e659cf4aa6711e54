"""Where a result is allocated: on the stream of whoever called the step, who will use it and drop it.

Invariant: an allocator hands freed memory to later work of the stream it came from. A result that came from a
stream of the step would, when the caller drops it, go to the next step while the caller's work still reads
it. So it comes from the caller's stream, and who writes it waits for that stream to have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind

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


@dataclass(frozen=True, slots=True)
class OutputLeaf:
    """One leaf of the outputs, before anything of it was seen."""

    name: str
    """What messages call it: `output['h']`."""
    backend: Backend
    """What copies its rows."""
    allocate: Allocate
    """Makes the result."""
    given: bool = False
    """Whether the result is the caller's own array."""

    def result(self, shape: tuple[int, ...], like: Any) -> Any:
        """A result of `shape` with the dtype of `like`. Where memory runs out it is tried once more.

        Cached memory is given back before that: the parts filled the cache with blocks of their own size,
        which no result fits into.
        """
        try:
            return self.allocate(shape, like)
        except Exception as error:
            if self.given or self.backend.classify(error) is not FailureKind.OOM:
                raise
        self.backend.reclaim()
        try:
            return self.allocate(shape, like)
        except Exception as error:
            error.add_note(
                f"while room was made for a result of shape {shape}, before any row of it was written"
            )
            raise
