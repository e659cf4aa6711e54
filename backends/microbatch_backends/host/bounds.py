"""What bounds the memory of a process besides the size of the host: control groups and resource limits.

Invariant: each bound has a limit above 0. What has no limit is not in the list.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from microbatch.host.cgroups import control_groups, read_number
from microbatch.host.proc import counters

NO_LIMIT = 1 << 60
"""Numbers above this mean "no limit": version 1 writes that as a number just below 2**63."""
COUNTED = {"RLIMIT_AS": "VmSize", "RLIMIT_DATA": "VmData"}
"""What each resource limit counts, by its name in `/proc/self/status`."""


class Bound(NamedTuple):
    """A limit in bytes, and what is used of it."""

    limit: int
    used: int


class GroupBounds:
    """The memory control groups of this process; found once, read each time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: list[Path] | None = None
        self._high_events: int | None = None
        self.limited: list[Path] = []
        """Groups that had a limit at the last reading."""

    def read(self) -> list[Bound]:
        """One bound for each group with a limit, innermost first."""
        if self._found is None:
            self._found = control_groups("memory", self._root)
        limits = {group: limit for group in self._found if (limit := _limit(group)) is not None}
        self.limited = list(limits)
        return [Bound(limit, _used(group)) for group, limit in limits.items()]

    def throttled(self) -> bool:
        """Whether any of them passed its `memory.high` since the last call."""
        now = sum(counters(group / "memory.events").get("high", 0) for group in self.limited)
        before, self._high_events = self._high_events, now
        return before is not None and now > before


def resource_limits() -> dict[str, int]:
    """{name: bytes} of the soft limits of this process that are set."""
    try:
        import resource
    except ImportError:  # Windows has none
        return {}
    found = {name: resource.getrlimit(getattr(resource, name))[0] for name in COUNTED}
    return {name: limit for name, limit in found.items() if 0 < limit < NO_LIMIT}


def _limit(group: Path) -> int | None:
    files = ("memory.max", "memory.high", "memory.limit_in_bytes")
    numbers = [read_number(group / name) or 0 for name in files]
    return min((number for number in numbers if 0 < number < NO_LIMIT), default=None)


def _used(group: Path) -> int:
    """Bytes charged to the group without the page cache that can be dropped."""
    current = read_number(group / "memory.current") or read_number(group / "memory.usage_in_bytes") or 0
    statistics = counters(group / "memory.stat")
    droppable = statistics.get("total_inactive_file", statistics.get("inactive_file", 0))
    return max(0, current - droppable)
