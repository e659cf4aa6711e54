"""Memory readings of devices, taken again only when the last one is old.

Invariant: `read` gives a reading of the calling thread's device that is at most `fresh` seconds old. Nothing
is locked: threads that ask at the same time may each take one, and the later one stays. So a subclass that
keeps numbers from one reading to the next keeps them by single assignments. Rejected: a lock, which a thread
that is interrupted, or a fork, leaves taken.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from microbatch.extend.records import MemoryReading
from microbatch_backends.device.driver import Driver

__all__ = ["DeviceReadings"]

Devices = TypeVar("Devices", bound=Driver)


class DeviceReadings(ABC, Generic[Devices]):
    """Readings of the devices of one driver. A subclass says how one is taken; `clock` is there for tests."""

    def __init__(
        self, driver: Devices, *, fresh: float = 0.01, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._driver = driver
        self._fresh = fresh
        self._clock = clock
        self._last: dict[int, tuple[float, MemoryReading]] = {}

    def read(self) -> MemoryReading:
        """A reading of the calling thread's device."""
        index, now = self._driver.index(), self._clock()
        at, reading = self._last.get(index, (now, None))
        if reading is None or not 0 <= now - at < self._fresh:
            reading = self._take(index, reading.peak or 0 if reading else 0)
            self._last[index] = (now, reading)
        return reading

    @abstractmethod
    def _take(self, index: int, peak: int) -> MemoryReading:
        """Ask device `index`, the current one; `peak` is the highest of the readings before, in bytes."""
