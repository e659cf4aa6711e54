"""The one reader of `/proc`: memory of the machine and of this process, pressure, and the processor's name.

Invariant: reading never fails; where the system does not tell, the answer is empty, 0, or the architecture's
name.
"""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

from microbatch.host.cgroups import read_text
from microbatch.host.cores import usable_cores

STATUS = Path("/proc/self/status")


def kibibytes(path: Path) -> dict[str, int]:
    """{name: bytes} of lines `Name:  123 kB`; other lines and other units are left out."""
    lines = re.findall(r"^([^:\n]+):[ \t]*(\d+) kB$", read_text(path), re.MULTILINE)
    return {name: int(number) * 1024 for name, number in lines}


def counters(path: Path) -> dict[str, int]:
    """{name: number} of lines `name 123`."""
    lines = re.findall(r"^(\S+) (\d+)$", read_text(path), re.MULTILINE)
    return {name: int(number) for name, number in lines}


def pressure_stall(path: Path) -> float:
    """Percent of the last 10 s in which some task waited for memory (`some avg10=`); 0 where not told."""
    found = re.search(r"^some .*?\bavg10=(\d+\.?\d*)", read_text(path), re.MULTILINE)
    return float(found[1]) if found else 0.0


def processor_name(root: Path = Path("/")) -> str:
    """Model and usable cores; the architecture where the model is not told."""
    found = re.search(r"^model name\s*: (.+)$", read_text(root / "proc/cpuinfo"), re.MULTILINE)
    return f"{found[1] if found else platform.machine()}, {usable_cores(root)} cores"


def is_zombie(process: int, root: Path = Path("/")) -> bool:
    """Whether a process has ended and its parent has not taken note; in containers some stay so for ever."""
    state = read_text(root / f"proc/{process}/stat").rpartition(")")[2].split()
    return state[:1] in (["Z"], ["X"])


def resident_bytes() -> int:
    """Resident bytes now; the peak where only that is known."""
    return kibibytes(STATUS).get("VmRSS") or peak_bytes()


def private_bytes() -> int:
    """Resident bytes now that no file could give back (RssAnon); all resident ones where that is not told."""
    return kibibytes(STATUS).get("RssAnon") or resident_bytes()


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
