"""The most memory a stretch of work used on the host.

Invariant: a mark never tells less than the process used since it was made, whatever other marks were made in between.
The kernel keeps one high-water mark for a process; making a mark starts it again (`/proc/self/clear_refs`), so it is
done only where a step has a memory limit to keep, and what it showed before is kept for the marks that are open.
Rejected: sampling in a thread (a short peak falls between two samples, and that is the one that kills).
"""

from __future__ import annotations

import threading
import weakref
from pathlib import Path

from microbatch.host.proc import kibibytes

__all__ = ["HostPeak", "PeakMeter"]

RESTART = "5"
"""What tells the kernel to start the high-water mark again, and nothing else."""


class HostPeak:
    """One stretch of work, from its making on. `in_use` are the bytes at its start."""

    __slots__ = ("__weakref__", "_meter", "highest", "in_use")

    def __init__(self, meter: PeakMeter, in_use: int) -> None:
        self._meter = meter
        self.in_use = in_use
        self.highest = in_use

    def peak(self) -> int:
        """The highest bytes in use since the start."""
        self._meter.update()
        return self.highest


class PeakMeter:
    """Makes marks; `root` is there for tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._status = root / "proc/self/status"
        self._restart = root / "proc/self/clear_refs"
        self._open: weakref.WeakSet[HostPeak] = weakref.WeakSet()
        self._lock = threading.Lock()
        self.highest = 0
        """The highest bytes in use that any restart would have forgotten."""

    def mark(self) -> HostPeak | None:
        """Start a stretch; None where the system cannot tell (no `/proc`, or it may not be written). 0.3 ms."""
        with self._lock:
            self._update()
            try:
                self._restart.write_text(RESTART)
            except OSError:
                return None
            in_use = kibibytes(self._status).get("VmRSS", 0)
            if not in_use:
                return None
            mark = HostPeak(self, in_use)
            self._open.add(mark)
            return mark

    def update(self) -> None:
        """Show all open marks the high-water mark."""
        with self._lock:
            self._update()

    def _update(self) -> None:
        highest = kibibytes(self._status).get("VmHWM", 0)
        self.highest = max(self.highest, highest)
        for mark in self._open:
            mark.highest = max(mark.highest, highest)
