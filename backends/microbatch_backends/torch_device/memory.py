"""How much memory a device has for this process, from the driver and torch's caching allocator.

Invariant: only reads. Peaks are never reset, since they are the user's own measurement too; a peak counts for a
reading only when it has moved since the one before. Blocks that are cached and unused count as free, blocks that
wait for another stream's event do not (`active`, not `allocated`). Rejected as pressure: reserved / total, which a
caching allocator drives to 1 and leaves there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from microbatch.extend.records import MemoryReading
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.torch_device.device_module import DeviceModule

__all__ = ["DeviceMemory"]

RETRY_PRESSURE = 0.85
"""Pressure after the allocator had to flush its cache to serve a request, whatever the bytes say."""


@dataclass(slots=True)
class _Seen:
    """What the readings of one device leave to the next."""

    reading: MemoryReading | None = None
    at: float = 0.0
    peak: int = 0
    allocator_peak: int | None = None
    retries: int | None = None


class DeviceMemory:
    """Readings of the devices of one module, each at most `fresh` seconds old."""

    def __init__(
        self,
        module: DeviceModule,
        *,
        host: HostMemory | None = None,
        fresh: float = 0.01,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._module = module
        self._host = host or HostMemory()
        self._fresh = fresh
        self._clock = clock
        self._seen: dict[int, _Seen] = {}
        self._lock = threading.Lock()

    def read(self) -> MemoryReading:
        """A reading of the calling thread's device."""
        index = self._module.index()
        with self._lock:
            now = self._clock()
            seen = self._seen.setdefault(index, _Seen())
            if seen.reading is None or not 0 <= now - seen.at < self._fresh:
                seen.reading, seen.at = self._take(index, seen), now
            return seen.reading

    def _take(self, index: int, seen: _Seen) -> MemoryReading:
        free, total = self._module.free_and_total(index)
        statistics = self._module.statistics(index)
        capacity = max(1, min(total, int(total * self._module.fraction(index))))
        if not statistics.get("reserved_bytes.all.current"):
            active, reserved = (0, 0) if statistics else (total - free, 0)
        else:
            active = statistics.get("active_bytes.all.current", 0)
            reserved = statistics["reserved_bytes.all.current"]
        usable = max(0, min(free + max(0, reserved - active), capacity - active))
        if self._module.integrated(index):
            usable = min(usable, self._host.read().usable)
        high = self._high(active, statistics, seen)
        return MemoryReading(
            capacity=capacity,
            in_use=active,
            usable=usable,
            peak=seen.peak,
            pressure=self._pressure(high, active + usable, statistics, seen),
        )

    def _high(self, active: int, statistics: dict[str, int], seen: _Seen) -> int:
        """The most that was live since the last reading, as far as the allocator's peak tells."""
        peak = statistics.get("active_bytes.all.peak", 0)
        moved = seen.allocator_peak is not None and peak > seen.allocator_peak
        seen.allocator_peak = peak
        seen.peak = max(seen.peak, peak, active)
        return max(active, peak) if moved else active

    def _pressure(self, high: int, reachable: int, statistics: dict[str, int], seen: _Seen) -> float:
        """Live bytes over all that this process could hold now."""
        retries = statistics.get("num_alloc_retries", 0)
        flushed = seen.retries is not None and retries > seen.retries
        seen.retries = retries
        full = min(1.0, high / reachable) if reachable > 0 else 1.0
        return max(full, RETRY_PRESSURE) if flushed else full
