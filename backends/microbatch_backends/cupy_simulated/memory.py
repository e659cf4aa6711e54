"""Pools of device memory, as CuPy has them.

Invariant: a freed block goes at once to the next allocation of the same pool on its own stream, whatever
other streams still do with it. What a pool gives back, also when it is dropped, is the driver's, which hands
the very same bytes to whoever asks next, any pool; so a graph that outlives its pool writes into what others
have. Inside a capture the driver may not be asked.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from microbatch.testing.simulated.capture import CaptureRefusedError
from microbatch.testing.simulated.memory import (
    Block,
    DeviceMemory,
    DeviceOutOfMemoryError,
    MemoryModel,
    Range,
)
from microbatch_backends.cupy_simulated.refusals import as_cupy


class OutOfMemoryError(MemoryError):
    """There is no room on the device, or within the limit of the pool."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        text = f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
        super().__init__(f"{text}, limit set to: {limit:,} bytes)." if limit else f"{text}).")


class CupyMemory(DeviceMemory):
    """Allocates for pools: an owner is (number of a pool, purpose of a stream)."""

    def __init__(self, model: MemoryModel, capturing: Callable[[], bool]) -> None:
        super().__init__(model, "block")
        self._capturing = capturing
        self._owners: dict[str, Any] = {}
        self.dropped: set[int] = set()
        """Pools that are gone: what they keep, and what is freed of them later, is the driver's."""
        self._drivers: list[Range] = []
        self._limits: dict[int, int] = {}

    def allocate(self, size: int, owner: Any) -> Block:
        """A block; OutOfMemoryError where there is no room even with an empty cache of the pool."""
        try:
            block = self._within(size, owner)
        except DeviceOutOfMemoryError:
            self.give_back(owner[0])
            try:
                block = self._within(size, owner)
            except DeviceOutOfMemoryError:
                used, held = self.counted(owner[0])
                raise OutOfMemoryError(size, used + held, self._limits.get(owner[0], 0)) from None
        self._owners[block.number] = owner
        return block

    def limit(self, pool: int, size: int) -> None:
        """Let `pool` have `size` bytes; 0 is any number."""
        self._limits[pool] = size

    def limit_of(self, pool: int) -> int:
        """What it may have."""
        return self._limits.get(pool, 0)

    def counted(self, pool: int | None) -> tuple[int, int]:
        """Bytes of a pool in use, and bytes that it keeps unused."""
        with self._lock:
            self._take_back()
            used = sum(one.size for number, one in self._live.items() if self._owners[number][0] == pool)
            kept = (blocks for owner, blocks in self._cached.items() if owner[0] == pool)  # type: ignore[index]
            return used, sum(one.size for blocks in kept for one in blocks)

    def left(self) -> int:
        """Bytes that no pool has."""
        with self._lock:
            self._take_back()
            return max(0, (self.model.capacity or 1 << 40) - self._in_use - self._held)

    def give_back(self, pool: int | None) -> None:
        """What `pool` keeps unused is the driver's."""
        with self._lock:
            self._take_back()
            for owner in [owner for owner in self._cached if owner[0] == pool]:  # type: ignore[index]
                blocks = self._cached.pop(owner)
                self._held -= sum(block.size for block in blocks)
                self._drivers += blocks

    def _within(self, size: int, owner: Any) -> Block:
        limit = self._limits.get(owner[0], 0)
        if limit and sum(self.counted(owner[0])) + size > limit and not self._is_cached(size, owner):
            raise DeviceOutOfMemoryError("the pool has its limit")
        return super().allocate(size, owner)

    def _is_cached(self, size: int, owner: Any) -> bool:
        rounded = self.rounded(size)
        return any(rounded <= block.size <= 2 * rounded for block in self._cached.get(owner, []))

    def _take_back(self) -> None:
        super()._take_back()
        for pool in list(self.dropped):
            for owner in [owner for owner in self._cached if owner[0] == pool]:  # type: ignore[index]
                blocks = self._cached.pop(owner)
                self._held -= sum(block.size for block in blocks)
                self._drivers += blocks

    def _fresh(self, size: int) -> Range:
        if self._capturing():
            with as_cupy():
                raise CaptureRefusedError("the driver cannot be asked for memory")
        self._place(size)
        given = next((one for one in self._drivers if one.size == size), None)
        if given is None:
            return super()._fresh(size)
        if self._place(size) is None:
            raise DeviceOutOfMemoryError(self._full(size))
        self._drivers.remove(given)
        given.reused = True
        return given


class MemoryPool:
    """A pool of the simulated device."""

    _numbers = itertools.count()

    def __init__(self, memory: CupyMemory) -> None:
        self._memory = memory
        self.number = next(self._numbers)
        """Its number among all pools."""
        # the set and not the memory, which leads to this pool and would keep it for good
        weakref.finalize(self, memory.dropped.add, self.number).atexit = False

    def malloc(self, size: int) -> Any:
        """Never called: an array asks for the pool behind its thread's allocator."""
        raise NotImplementedError("make an array instead")

    def used_bytes(self) -> int:
        """Bytes of arrays."""
        return self._memory.counted(self.number)[0]

    def free_bytes(self) -> int:
        """Bytes that are kept unused."""
        return self._memory.counted(self.number)[1]

    def total_bytes(self) -> int:
        """Bytes that it has of the device."""
        return sum(self._memory.counted(self.number))

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Let it have `size` bytes, or a share of the device."""
        whole = self._memory.model.capacity or 1 << 40
        self._memory.limit(self.number, int(whole * fraction) if fraction is not None else size or 0)

    def get_limit(self) -> int:
        """Bytes that it may have; 0 is any number."""
        return self._memory.limit_of(self.number)

    def free_all_blocks(self, stream: Any = None) -> None:
        """Give back what is kept unused."""
        self._memory.give_back(self.number)
