"""The one reader of `/proc`: memory of the machine and of this process, pressure, and the processor's name.

Invariant: reading never fails; where the system does not tell, the answer is empty, 0, or the architecture's
name.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from microbatch.host.cgroups import read_text
from microbatch.host.cores import usable_cores

__all__ = ["counters", "kibibytes", "peak_bytes", "pressure_stall", "processor_name", "resident_bytes"]


def kibibytes(path: Path) -> dict[str, int]:
    """{name: bytes} of lines `Name:  123 kB`; other lines and other units are left out."""
    found: dict[str, int] = {}
    for line in read_text(path).splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def counters(path: Path) -> dict[str, int]:
    """{name: number} of lines `name 123`."""
    pairs = (line.split() for line in read_text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def pressure_stall(path: Path) -> float:
    """Percent of the last 10 s in which some task waited for memory (`some avg10=`); 0 where not told."""
    for line in read_text(path).splitlines():
        words = line.split()
        if words and words[0] == "some":
            values = [word.partition("=")[2] for word in words if word.startswith("avg10=")]
            try:
                return max(0.0, float(values[0])) if values else 0.0
            except ValueError:
                return 0.0
    return 0.0


def processor_name(root: Path = Path("/")) -> str:
    """Model and usable cores; the architecture where the model is not told."""
    lines = (line.partition(":") for line in read_text(root / "proc/cpuinfo").splitlines())
    models = (value.strip() for name, _, value in lines if name.strip() == "model name")
    return f"{next(models, '') or platform.machine()}, {usable_cores(root)} cores"


STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Resident bytes now; the peak where only that is known."""
    return kibibytes(STATUS).get("VmRSS") or peak_bytes()


def peak_bytes() -> int:
    """The highest resident bytes so far (VmHWM, else ru_maxrss); pages of mapped files count too."""
    return kibibytes(STATUS).get("VmHWM") or _maxrss()


def _maxrss() -> int:
    try:
        import resource
    except ImportError:
        return 0
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024
