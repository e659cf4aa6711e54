"""How much memory a device has for this process, from the driver and torch's caching allocator.

Invariant: only reads. Peaks are never reset, because the user may measure with them too; so a peak counts for
a reading only where it has grown since the reading before. Cached blocks that nobody uses count as free.
Freed blocks that wait for an event of another stream do not, which is why `active` bytes are read and not
`allocated` ones. Rejected as pressure: reserved / total, which a caching allocator drives to 1 and leaves
there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from microbatch.extend.records import MemoryReading
from microbatch_backends.device.readings import DeviceReadings
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.torch_device.device_module import DeviceModule

__all__ = ["DeviceMemory"]

RETRY_PRESSURE = 0.85
"""Pressure after the allocator had to flush its cache to serve a request, whatever the bytes say."""


@dataclass(slots=True)
class _Counters:
    """The allocator's counters at the last reading of a device; None before the first."""

    peak: int | None = None
    """Highest bytes that were live, as the allocator tells."""
    retries: int | None = None
    """How often the cache had been flushed to serve a request."""


class DeviceMemory(DeviceReadings):
    """Readings of the devices of one module; `host` bounds the devices that use the host's memory."""

    def __init__(
        self,
        module: DeviceModule,
        *,
        host: HostMemory | None = None,
        fresh: float = 0.01,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(module, fresh=fresh, clock=clock)
        self._module = module
        self._host = host or HostMemory()
        self._counters: dict[int, _Counters] = {}

    def _take(self, index: int, peak: int) -> MemoryReading:
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
        counters = self._counters.setdefault(index, _Counters())
        high = _high(active, statistics, counters)
        return MemoryReading(
            capacity=capacity,
            in_use=active,
            usable=usable,
            peak=max(peak, counters.peak or 0, active),
            pressure=_pressure(high, active + usable, statistics, counters),
        )


def _high(active: int, statistics: dict[str, int], counters: _Counters) -> int:
    """The most bytes that were live since the last reading, as far as the allocator's peak tells."""
    peak = statistics.get("active_bytes.all.peak", 0)
    moved = counters.peak is not None and peak > counters.peak
    counters.peak = peak
    return max(active, peak) if moved else active


def _pressure(high: int, reachable: int, statistics: dict[str, int], counters: _Counters) -> float:
    """Live bytes over all bytes that this process could hold now."""
    retries = statistics.get("num_alloc_retries", 0)
    flushed = counters.retries is not None and retries > counters.retries
    counters.retries = retries
    full = min(1.0, high / reachable) if reachable > 0 else 1.0
    return max(full, RETRY_PRESSURE) if flushed else full
