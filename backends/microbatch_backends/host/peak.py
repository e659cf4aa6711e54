"""The most memory a stretch of work used on the host.

Invariant: a mark never tells less than the process used since the mark was made, whatever other marks were
made in between. The kernel keeps one high-water mark for a process, and making a mark sets it back to the
bytes in use now (`/proc/self/clear_refs`). What it showed before is therefore told first to all marks that
are still open. Marks are made only where a step has a memory limit to keep. A child of a fork begins with the
mark that its own kernel record has: it used nothing of what its parent used before.

Rejected: sampling in a thread. A short peak falls between two samples, and a short peak is enough to be
killed. A lock around reading and setting back: what other threads allocate in between is lost with it too,
and a forked child would find it taken. A mark may be told of a peak from just before it was made, never too
little.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from microbatch.host.forks import FORKS
from microbatch.host.proc import kibibytes

RESTART = "5"
"""Written to `clear_refs`, this sets the high-water mark back and changes nothing else."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class HostPeak:
    """A stretch of work, which begins when this is made."""

    _meter: PeakMeter
    in_use: int
    """Bytes in use at the start."""
    highest: int
    """The highest bytes in use that the meter has told so far."""

    def peak(self) -> int:
        """The highest bytes in use since the start."""
        self._meter.status()
        return self.highest


class PeakMeter:
    """Makes marks; `root` is there for tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._status = root / "proc/self/status"
        self._restart = root / "proc/self/clear_refs"
        self._open: dict[weakref.ref[HostPeak], None] = {}
        self._highest = (FORKS.count, 0)
        self._give_back: Callable[[int], object] | None = _malloc_trim()

    @property
    def highest(self) -> int:
        """The highest bytes in use that this process ever read, which the kernel may have forgotten since."""
        forks, highest = self._highest
        return highest if forks == FORKS.count else 0

    def mark(self) -> HostPeak | None:
        """Start a stretch (0.3 ms); None where there is no `/proc`, or where it may not be written.

        What the allocator keeps of earlier work is given back to the system before (glibc; 0.1 ms for 10 MB).
        Parts that find their memory there seem to need none: with a limit of 64 MiB they then grew to 200.
        """
        if self._give_back is not None:
            self._give_back(0)
        in_use = self.status().get("VmRSS", 0)
        try:
            self._restart.write_text(RESTART)
        except OSError:
            return None
        if not in_use:
            return None
        mark = HostPeak(self, in_use, in_use)
        self._open[weakref.ref(mark, self._closed)] = None
        return mark

    def status(self) -> dict[str, int]:
        """The bytes in `/proc/self/status`, after all open marks were told its high-water mark."""
        status = kibibytes(self._status)
        highest = max(status.get("VmHWM", 0), status.get("VmRSS", 0))
        self._highest = (FORKS.count, max(self.highest, highest))
        for known in list(self._open):
            if (mark := known()) is not None:
                mark.highest = max(mark.highest, highest)
        return status

    def _closed(self, known: weakref.ref[HostPeak]) -> None:
        self._open.pop(known, None)


def _malloc_trim() -> Callable[[int], object] | None:
    """The function of glibc; None with another allocator, and on another system."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return found
