"""How much memory this process uses and has used at most, in bytes.

Invariant: reading never fails; where the system does not tell, the answer is 0.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak_bytes", "resident_bytes"]

STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Resident bytes now; the peak where only that is known."""
    return _status("VmRSS:") or peak_bytes()


def peak_bytes() -> int:
    """The highest resident bytes so far (VmHWM, else ru_maxrss); pages of mapped files count too."""
    return _status("VmHWM:") or _maxrss()


def _status(field: str) -> int:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


def _maxrss() -> int:
    try:
        import resource
    except ImportError:
        return 0
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024
