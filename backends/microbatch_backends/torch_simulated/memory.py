"""The allocator of the simulated device: blocks kept for each stream, as torch's caching allocator does.

Invariant: a freed block goes to the next allocation on its own stream at once, unless `record_stream` named
others: then only when what those had when it was freed is done. Where there is no room, blocks that nobody
uses are given back first, and the error is torch's.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from microbatch.testing.simulated.memory import Block, DeviceMemory, DeviceOutOfMemoryError, MemoryModel

if TYPE_CHECKING:
    from microbatch.testing.simulated.streams import SimulatedEvent, SimulatedStream


class TorchMemory(DeviceMemory):
    """Allocates as torch does, and counts what `torch.cuda.memory_stats` tells."""

    def __init__(self, model: MemoryModel) -> None:
        super().__init__(model, "block")
        self.retries = 0
        """Allocations for which the cache had to be emptied."""
        self.peak = 0
        """The most bytes in use since the last reset."""
        self._users: dict[str, list[SimulatedStream]] = {}
        self._waiting: list[tuple[list[SimulatedEvent], str, object]] = []

    def allocate(self, size: int, owner: object) -> Block:
        """A block; torch.OutOfMemoryError where there is no room even with an empty cache."""
        try:
            block = super().allocate(size, owner)
        except DeviceOutOfMemoryError:
            self.retries += 1
            self.empty_cache()
            block = self._last_try(size, owner)
        self.peak = max(self.peak, self._in_use)
        return block

    def used_by(self, block: Block, stream: SimulatedStream) -> None:
        """`block` is used on `stream` too."""
        self._users.setdefault(block.number, []).append(stream)

    def limit(self, capacity: int) -> None:
        """Let the device have `capacity` bytes from now on."""
        self.model = dataclasses.replace(self.model, capacity=capacity)

    def counted(self) -> tuple[int, int]:
        """Bytes in use, and bytes that are kept unused."""
        with self._lock:
            self._take_back()
            return self._in_use, self._held

    def _last_try(self, size: int, owner: object) -> Block:
        try:
            return super().allocate(size, owner)
        except DeviceOutOfMemoryError as error:
            full = str(error)
        raise torch.OutOfMemoryError(
            f"CUDA out of memory. Tried to allocate {size} bytes. GPU 0 is simulated: {full}"
        )

    def _take_back(self) -> None:
        """Give what was freed to the pools; what other streams use waits for them."""
        for item in [item for item in self._waiting if all(event.done() for event in item[0])]:
            self._waiting.remove(item)
            self._freed.append(item[1:])
        ready: list[tuple[str, object]] = []
        while self._freed:
            number, owner = self._freed.popleft()
            users = self._users.pop(number, None)
            if users is None:
                ready.append((number, owner))
            else:
                self._waiting.append(([_mark(stream) for stream in users], number, owner))
        self._freed.extend(ready)
        super()._take_back()


def _mark(stream: SimulatedStream) -> SimulatedEvent:
    event = stream._device.event()
    event.record(stream)
    return event
