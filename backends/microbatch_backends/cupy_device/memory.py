"""How much memory a device has for this process, from the driver and CuPy's pool.

Invariant: only reads. Bytes that the pool keeps unused count as free, although it keeps them for each stream
apart: what was freed on one stream does not serve another. So `usable` is an upper bound, and running out is
still handled. The pool counts no peak, so the peak is the most that a reading has seen.
"""

from __future__ import annotations

from microbatch.extend.records import MemoryReading
from microbatch_backends.cupy_device.namespace import CupyNamespace
from microbatch_backends.device.readings import DeviceReadings

UNLIMITED = (0, 2**64 - 1)
"""What `get_limit` says without a limit."""


class CupyMemory(DeviceReadings[CupyNamespace]):
    """Readings of the devices."""

    def _take(self, index: int, peak: int) -> MemoryReading:
        free, total = map(int, self._driver.runtime.memGetInfo())  # of the whole device, all processes
        pool = self._driver.pool()
        if pool is None:  # another allocator, which counts nothing: only the driver can be asked
            used = total - free
            return _reading(total, used, free, total, peak)
        used, held, limit = int(pool.used_bytes()), int(pool.total_bytes()), int(pool.get_limit())
        reachable, capacity = free + held, total
        usable = free + held - used
        if limit not in UNLIMITED:
            usable = min(limit - used, usable)
            reachable, capacity = min(limit, reachable), min(limit, total)
        return _reading(capacity, used, usable, reachable, peak)


def _reading(capacity: int, used: int, usable: int, reachable: int, peak: int) -> MemoryReading:
    """`reachable` are all bytes that this process could hold now, those it holds included."""
    return MemoryReading(
        capacity=max(1, capacity),
        in_use=used,
        usable=max(0, usable),
        peak=max(peak, used),
        pressure=min(1.0, used / reachable) if reachable > 0 else 1.0,
    )
