"""The simulated device as CuPy sees it: streams without number, pools of memory, pinned memory.

Invariant: memory comes from the pool whose `malloc` is the calling thread's allocator, and from its cache for
the current stream; so what one pool has freed is never given to another.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from microbatch.testing.adversarial.executor import LazyExecutor
from microbatch.testing.recording.trace import Trace
from microbatch.testing.simulated.device import SimulatedDevice
from microbatch.testing.simulated.streams import SimulatedStream
from microbatch_backends.cupy_simulated.memory import CupyMemory, MemoryPool
from microbatch_backends.cupy_simulated.pinned import PinnedPool


class CupyStreams(SimulatedDevice):
    """Streams, memory and pinned memory of device 0."""

    memory: CupyMemory

    def __init__(self, executor: LazyExecutor, memory: CupyMemory, trace: Trace | None) -> None:
        super().__init__("cuda:0", executor, memory, trace, lazy=True)
        self.pinned = PinnedPool()
        """Host memory that is copied from and to while the host goes on."""
        self.pool = MemoryPool(memory)
        """The pool that is used where nobody says."""
        self._drawn = itertools.count()
        self._place = threading.local()

    def new_stream(self, priority: int | None = None) -> SimulatedStream:
        """A stream that nobody else has."""
        urgent = priority is not None and priority < 0
        return self.named(f"{'urgent' if urgent else 'stream'}{next(self._drawn)}")

    @property
    def allocator(self) -> Callable[[int], Any]:
        """Where the calling thread has its memory from."""
        return getattr(self._place, "allocator", self.pool.malloc)

    @contextmanager
    def using(self, allocator: Callable[[int], Any] | None) -> Iterator[None]:
        """The block in which the calling thread has its memory from `allocator`; None is the default pool."""
        before = self.allocator
        self._place.allocator = self.pool.malloc if allocator is None else allocator
        try:
            yield
        finally:
            self._place.allocator = before

    def owner_of(self, stream: SimulatedStream) -> object:
        """The cache of the calling thread's pool for `stream`, captured or not."""
        pool = getattr(self.allocator, "__self__", None)
        return (pool.number if isinstance(pool, MemoryPool) else None, stream.purpose)
