"""What the system has counted for the calling thread.

Invariant: None where the system does not count by the thread, never a guess.
"""

from __future__ import annotations

try:
    import resource
except ImportError:  # not on this system
    resource = None  # type: ignore[assignment]

Reading = tuple[float, float, int, int]
"""Seconds outside of the kernel, seconds in it, pages mapped at first touch, waits."""


def thread_usage() -> Reading | None:
    """The counts of the calling thread since its start, or None; takes a microsecond."""
    if resource is None or not hasattr(resource, "RUSAGE_THREAD"):
        return None
    counted = resource.getrusage(resource.RUSAGE_THREAD)
    return counted.ru_utime, counted.ru_stime, counted.ru_minflt, counted.ru_nvcsw
