"""What CuPy keeps per thread (device, stream, allocator) beside Python's context variables.

Invariant: inside `apply` the thread launches where the caller did when the snapshot was taken, and allocates
from the same pool. After it the thread is as before. CuPy's random generators and its error configuration
(`cupyx.errstate`) are not carried.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from microbatch_backends.cupy_device.namespace import CupyNamespace
from microbatch_backends.host.state import HostState


class CupyState:
    """A snapshot of the calling thread."""

    __slots__ = ("_allocator", "_host", "_index", "_namespace", "_stream")

    def __init__(self, namespace: CupyNamespace) -> None:
        self._namespace = namespace
        self._host = HostState()
        self._index = namespace.index()
        self._stream = namespace.current_stream()
        self._allocator = namespace.cuda.get_allocator()

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Set it in the thread that enters, undo on exit."""
        same = self._namespace.cuda.get_allocator() == self._allocator
        pool = nullcontext() if same else self._namespace.cuda.using_allocator(self._allocator)
        with self._host.apply(), self._namespace.activate(self._stream, self._index), pool:
            yield
