"""What the system has counted for the calling thread.

Invariant: None where the system does not count by the thread, never a guess.
"""

from __future__ import annotations

try:
    from resource import RUSAGE_THREAD, getrusage
except ImportError:  # not on this system
    getrusage = None  # type: ignore[assignment]

Reading = tuple[float, float, int, int]
"""Seconds outside of the kernel, seconds in it, pages mapped at first touch, waits."""


def thread_usage() -> Reading | None:
    """The counts of the calling thread since its start, or None; takes a microsecond."""
    if getrusage is None:
        return None
    counted = getrusage(RUSAGE_THREAD)
    return counted.ru_utime, counted.ru_stime, counted.ru_minflt, counted.ru_nvcsw
