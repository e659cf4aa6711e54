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

from microbatch.extend.records import MemoryReading
from microbatch_backends.device.readings import DeviceReadings
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.torch_device.device_module import DeviceModule

ACTIVE, PEAK = "active_bytes.all.current", "active_bytes.all.peak"
RESERVED, RETRIES = "reserved_bytes.all.current", "num_alloc_retries"
RETRY_PRESSURE = 0.85
"""Pressure after the allocator had to flush its cache to serve a request, whatever the bytes say."""


class DeviceMemory(DeviceReadings[DeviceModule]):
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
        self._host = host or HostMemory()
        self._statistics: dict[int, dict[str, int]] = {}
        """The allocator's counters at the last reading of a device."""

    def _take(self, index: int, peak: int) -> MemoryReading:
        free, total = self._driver.free_and_total(index)
        now = self._driver.statistics(index)
        before, self._statistics[index] = self._statistics.get(index, now), now
        capacity = max(1, min(total, int(total * self._driver.fraction(index))))
        active = now.get(ACTIVE, 0) if now else total - free
        usable = max(0, min(free + max(0, now.get(RESERVED, 0) - active), capacity - active))
        if self._driver.integrated(index):
            usable = min(usable, self._host.read().usable)
        return MemoryReading(
            capacity=capacity,
            in_use=active,
            usable=usable,
            peak=max(peak, now.get(PEAK, 0), active),
            pressure=_pressure(active, active + usable, now, before),
        )


def _pressure(active: int, reachable: int, now: dict[str, int], before: dict[str, int]) -> float:
    """The most bytes that were live since the last reading, as far as the allocator's peak tells, over all
    bytes that this process could hold now."""
    peak = now.get(PEAK, 0)
    high = max(active, peak) if peak > before.get(PEAK, 0) else active
    full = min(1.0, high / reachable) if reachable > 0 else 1.0
    flushed = now.get(RETRIES, 0) > before.get(RETRIES, 0)
    return max(full, RETRY_PRESSURE) if flushed else full
