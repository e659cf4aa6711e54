"""A control group of memory for a child: version 1 or 2, where this user may make one.

Invariant: a group that is made is removed, once the child in it has ended. Pages stay with the group that
they were charged to, so a child joins before it has made anything, and limits the group when all is there.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOTS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
)
"""Where groups of version 1 and of version 2 are made, the file with the limit and that with the use."""
MUCH = 1 << 40
"""Bytes that are no limit."""
PATIENCE = 5.0
"""Seconds for a process that was killed to leave its group."""


@contextmanager
def memory_group() -> Iterator[Path]:
    """A new group without a limit; OSError with the reason where this system makes none."""
    group = _new_group()
    try:
        yield group
    finally:
        _remove(group)


def why_no_groups() -> str:
    """Why a child cannot be put into a group of its own; empty where it can."""
    try:
        with memory_group() as group:
            limit(group, None)
            return "" if os.access(group / "cgroup.procs", os.W_OK) else "no process may be moved to a group"
    except OSError as error:
        return str(error)


def join(group: Path) -> None:
    """Move this process into `group`."""
    (group / "cgroup.procs").write_text(str(os.getpid()))


def limit(group: Path, room: int | None) -> None:
    """Limit `group` to what it uses now and `room` bytes more; None takes the limit away."""
    limit, use = next((limit, use) for _, limit, use in ROOTS if (group / limit).exists())
    most = MUCH if room is None else int((group / use).read_text()) + room
    (group / limit).write_text(str(most))


def _new_group() -> Path:
    """A group that counts memory."""
    reasons = list[str]()
    for root, limit, _ in ROOTS:
        try:
            group = Path(tempfile.mkdtemp(prefix="microbatch-", dir=root))
        except OSError as error:
            reasons.append(f"{root}: {error.strerror}")
            continue
        if (group / limit).exists():
            return group
        _remove(group)
        reasons.append(f"{root}: its groups have no {limit}")
    raise OSError(f"no control group of memory can be made ({'; '.join(reasons)})")


def _remove(group: Path) -> None:
    last = time.monotonic() + PATIENCE
    while True:
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > last:
                raise
            time.sleep(0.01)
        else:
            return
