"""Memory of a simulated device: blocks from an address space, kept by a pool for each stream.

Invariant: a block belongs to at most one array at a time. A freed block goes back to the pool of the stream
that allocated it, at once, whatever other streams still do with it: this is what CUDA's caching allocators
do, and what makes a lifetime bug visible as a wrong value.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import deque
from dataclasses import dataclass

import numpy as np

from microbatch.extend.records import MemoryReading

POISON = 0xFF
"""Every byte of uninitialised memory: NaN in floats, -1 in signed integers."""


class DeviceOutOfMemoryError(MemoryError):
    """A simulated device has no room; what frameworks raise, so not a MicrobatchError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryModel:
    """How a simulated allocator behaves."""

    capacity: int | None = None
    """Bytes of the device; None is as much as the host gives."""
    caching: bool = True
    """Whether freed blocks stay with their stream until `reclaim`; they then count against the capacity."""
    fragmentation: bool = False
    """Whether a block needs one hole of the address space that is large enough, as in real memory."""
    granularity: int = 64
    """Bytes to which sizes are rounded up."""


@dataclass(slots=True, eq=False)
class Range:
    """Bytes that are allocated or cached."""

    number: str
    """What a trace calls them."""
    address: int
    """Where they begin."""
    data: np.ndarray
    """The bytes themselves."""
    reused: bool = False
    """Whether another stream may still use them; poison else."""

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.data.nbytes


@dataclass(slots=True, eq=False, weakref_slot=True)
class Block(Range):
    """Bytes of a device that one array and its views share; freed when the last of them goes."""


class DeviceMemory:
    """Allocates, frees, and counts. Safe from several threads, and from finalizers."""

    def __init__(self, model: MemoryModel, name: str) -> None:
        self.model = model
        self._name = name
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._live: dict[str, Range] = {}
        self._cached: dict[object, list[Range]] = {}
        # finalizers must not touch what a caller iterates over
        self._freed: deque[tuple[str, object]] = deque()
        self._end = 0
        self._peak = 0
        self._in_use = 0
        self._held = 0

    def allocate(self, size: int, owner: object) -> Block:
        """A block of at least `size` bytes for work on stream `owner`.

        DeviceOutOfMemoryError when there is no room.
        """
        rounded = self.rounded(size)
        with self._lock:
            self._take_back()
            cached = self._from_cache(rounded, owner)
            found = cached or self._fresh(rounded)
            self._live[found.number] = found
            self._in_use += found.size
            self._peak = max(self._peak, self._in_use)
        block = Block(found.number, found.address, found.data, found.reused or cached is not None)
        weakref.finalize(block, self._freed.append, (found.number, owner)).atexit = False
        return block

    def rounded(self, size: int) -> int:
        """Bytes that a block of `size` takes."""
        return max(1, -(-size // self.model.granularity)) * self.model.granularity

    def reading(self) -> MemoryReading:
        """What is used and what a new array could get now."""
        with self._lock:
            self._take_back()
            in_use = self._in_use
            capacity = self.model.capacity or 1 << 40
            usable = max((size for _, size in self._holes()), default=0)
            if not self.model.fragmentation:
                usable = capacity - in_use - self._held
            return MemoryReading(
                capacity=capacity,
                in_use=in_use,
                usable=max(0, usable),
                peak=max(self._peak, in_use),
                pressure=min(1.0, in_use / capacity),
            )

    def empty_cache(self) -> None:
        """Give cached blocks back; only when no stream has work left."""
        with self._lock:
            self._take_back()
            self._cached.clear()
            self._held = 0

    def _take_back(self) -> None:
        """Give what was freed to the pools."""
        while self._freed:
            number, owner = self._freed.popleft()
            found = self._live.pop(number)
            self._in_use -= found.size
            if self.model.caching:
                self._held += found.size
                self._cached.setdefault(owner, []).append(found)

    def _from_cache(self, size: int, owner: object) -> Range | None:
        """The smallest cached block of that stream which is no more than twice too large."""
        pool = self._cached.get(owner, [])
        fitting = [block for block in pool if size <= block.size <= 2 * size]
        if not fitting:
            return None
        best = min(fitting, key=lambda block: block.size)
        pool.remove(best)
        self._held -= best.size
        return best

    def _fresh(self, size: int) -> Range:
        address = self._place(size)
        if address is None:
            raise DeviceOutOfMemoryError(self._full(size))
        self._end = max(self._end, address + size)
        return Range(f"{self._name} {next(self._numbers)}", address, np.full(size, POISON, np.uint8))

    def _place(self, size: int) -> int | None:
        """An address for `size` bytes, None if there is none."""
        if self.model.fragmentation:
            return next((start for start, room in self._holes() if room >= size), None)
        capacity = self.model.capacity
        if capacity is not None and self._in_use + self._held + size > capacity:
            return None
        return self._end

    def _holes(self) -> list[tuple[int, int]]:
        """(address, size) of what is neither allocated nor cached, lowest address first."""
        taken = [*self._live.values(), *(block for pool in self._cached.values() for block in pool)]
        holes, start = [], 0
        for block in sorted(taken, key=lambda block: block.address):
            if block.address > start:
                holes.append((start, block.address - start))
            start = max(start, block.address + block.size)
        capacity = self.model.capacity or 1 << 40
        if capacity > start:
            holes.append((start, capacity - start))
        return holes

    def _full(self, size: int) -> str:
        largest = max((room for _, room in self._holes()), default=0)
        return (
            f"device out of memory: asked for {size} bytes with {self._in_use} in use and {self._held} "
            f"cached of {self.model.capacity}, largest hole {largest}; free arrays, or call reclaim() to "
            "empty the cache"
        )
