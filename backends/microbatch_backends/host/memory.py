"""How much memory this process has on the host, as the kernel counts it.

Invariant: a reading follows the tightest of all limits that can stop the process: host memory, every control
group from the process's own up to the root (`memory.max` and `memory.high`, or version 1), and the
address-space limits. Page cache that can be dropped counts as free. Where a file is missing, its limit is
left out. A child of a fork takes readings of its own.

Nothing is locked, since a forked child would find the lock taken. Threads that ask at the same time may each
take a reading, and the later one stays.

On the host an allocation does not fail: it succeeds, and the process is killed when it touches the memory.
There is nothing to catch then, so `usable` and `pressure` must be right before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from microbatch.extend.records import MemoryReading
from microbatch.host.forks import FORKS
from microbatch.host.proc import kibibytes, pressure_stall
from microbatch_backends.host.bounds import COUNTED, Bound, GroupBounds, resource_limits
from microbatch_backends.host.peak import HostPeak, PeakMeter

STALL_WEIGHT = 0.085
"""Pressure for each percent of time stalled on memory: 10 % gives 0.85, where a governor starts to shrink."""
HIGH_EVENTS_PRESSURE = 0.85
"""Pressure while the kernel throttles a group for passing `memory.high`."""
COSTS = 100
"""A reading is kept for this many times as long as it took, so readings take 1 % of the time at most."""
UNKNOWN = 1 << 62
"""Stands for the size of a memory nobody can tell."""


class HostMemory:
    """Reads the memory of this process; `root` and `clock` are there for tests."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        fresh: float = 0.01,
        clock: Callable[[], float] = time.monotonic,
        limits: Callable[[], dict[str, int]] = resource_limits,
    ) -> None:
        self._root = root
        self._fresh = fresh
        self.clock = clock
        self._limits = limits
        self._groups = GroupBounds(root)
        self._meter = PeakMeter(root)
        self.last: tuple[float, float, MemoryReading, int] | None = None
        """From when and until when by `clock`, the reading, and in which process; for who asks every step."""

    def read(self) -> MemoryReading:
        """A reading at most `fresh` seconds old (10 ms), or `COSTS` times as old as it took to take (0.2 to
        0.8 ms). With `fresh` 0 each reading is new."""
        last, now = self.last, self.clock()
        if last is not None and last[0] <= now < last[1] and last[3] == FORKS.count:
            return last[2]
        reading = self._take()
        kept = max(self._fresh, COSTS * (self.clock() - now)) if self._fresh else 0.0
        self.last = (now, now + kept, reading, FORKS.count)
        return reading

    def peak_mark(self) -> HostPeak | None:
        """Start measuring the most that is in use from now on; None where the system cannot tell."""
        return self._meter.mark()

    def _take(self) -> MemoryReading:
        process = self._meter.status()
        in_use = process.get("VmRSS", 0)
        limits = [Bound(limit, process.get(COUNTED[name], 0)) for name, limit in self._limits().items()]
        host = _host_bound(kibibytes(self._root / "proc/meminfo"), in_use)
        bounds = [host, *self._groups.read(), *limits]
        return MemoryReading(
            capacity=min(bound.limit for bound in bounds),
            in_use=in_use,
            usable=max(0, min(bound.limit - bound.used for bound in bounds)),
            peak=self._meter.highest,
            pressure=self._pressure(bounds),
        )

    def _pressure(self, bounds: list[Bound]) -> float:
        full = max(bound.used / bound.limit for bound in bounds)
        # a reading is as pressed as its worst sign: bytes used, time stalled, or throttling by the kernel
        files = [self._root / "proc/pressure/memory"]
        files += [group / "memory.pressure" for group in self._groups.limited]
        stalled = STALL_WEIGHT * max(map(pressure_stall, files))
        throttled = HIGH_EVENTS_PRESSURE if self._groups.throttled() else 0.0
        return min(1.0, max(full, stalled, throttled))


def _host_bound(host: dict[str, int], in_use: int) -> Bound:
    """All of the host's memory; without `/proc`, its size and what this process alone uses."""
    if total := host.get("MemTotal", 0):
        available = host.get("MemAvailable", host.get("MemFree", 0))
        return Bound(total, total - min(total, available))
    try:
        return Bound(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), in_use)
    except (AttributeError, OSError, ValueError):
        return Bound(UNKNOWN, in_use)
