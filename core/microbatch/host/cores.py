"""How many cores this process may use.

Invariant: at least 1, and never more than the affinity mask and every CPU quota above the process allow. A
container with a quota of 2 on a 64-core host gets 2: more threads would be throttled, all of them at once.
"""

from __future__ import annotations

import os
from pathlib import Path

from microbatch.host.cgroups import control_groups, read_number, read_text


def usable_cores(root: Path = Path("/")) -> int:
    """Cores by affinity or by CPU quota (rounded up: 1.5 cores are 2 threads), whichever is fewer."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in control_groups("cpu", root) if (quota := _quota(group)) is not None]
    return max(1, min([affinity, *quotas]))


def _quota(group: Path) -> int | None:
    """Cores by `cpu.max` (version 2: "quota period") or `cpu.cfs_quota_us` (version 1), if limited."""
    words = read_text(group / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
        quota, period = int(words[0]), int(words[1])
    else:
        quota = read_number(group / "cpu.cfs_quota_us") or 0
        period = read_number(group / "cpu.cfs_period_us") or 0
    return -(-quota // period) if quota > 0 and period > 0 else None
