"""How much memory a device has for this process, from the driver and CuPy's pool.

Invariant: only reads. Bytes the pool keeps unused count as free, although its arenas are per stream and what was freed
on one does not serve another: that is why `usable` is an upper bound and running out is still handled. The pool keeps no
peak, so the peak is the most that a reading has seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from microbatch.extend.records import MemoryReading
from microbatch_backends.cupy_device.namespace import CupyNamespace

__all__ = ["CupyMemory"]

UNLIMITED = (0, 2**64 - 1)
"""What `get_limit` says without a limit."""


class CupyMemory:
    """Readings of the devices, each at most `fresh` seconds old."""

    def __init__(
        self, namespace: CupyNamespace, *, fresh: float = 0.01, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._namespace = namespace
        self._fresh = fresh
        self._clock = clock
        self._last: dict[int, tuple[float, MemoryReading]] = {}
        self._lock = threading.Lock()

    def read(self) -> MemoryReading:
        """A reading of the calling thread's device."""
        index = self._namespace.index()
        with self._lock:
            now = self._clock()
            at, reading = self._last.get(index, (now, None))
            if reading is None or not 0 <= now - at < self._fresh:
                reading = self._take(0 if reading is None else reading.peak or 0)
                self._last[index] = (now, reading)
            return reading

    def _take(self, peak: int) -> MemoryReading:
        free, total = self._namespace.free_and_total()
        pool = self._namespace.pool()
        if pool is None:  # another allocator: only the driver can be asked
            used = total - free
            return self._reading(total, used, free, total, peak)
        used, held, limit = int(pool.used_bytes()), int(pool.total_bytes()), int(pool.get_limit())
        reachable, capacity = free + held, total
        usable = free + held - used
        if limit not in UNLIMITED:
            usable = min(limit - used, usable)
            reachable, capacity = min(limit, reachable), min(limit, total)
        return self._reading(capacity, used, usable, reachable, peak)

    @staticmethod
    def _reading(capacity: int, used: int, usable: int, reachable: int, peak: int) -> MemoryReading:
        return MemoryReading(
            capacity=max(1, capacity),
            in_use=used,
            usable=max(0, usable),
            peak=max(peak, used),
            pressure=min(1.0, used / reachable) if reachable > 0 else 1.0,
        )
