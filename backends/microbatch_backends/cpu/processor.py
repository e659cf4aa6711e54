"""What the host's processor is called, for the key of what was learned on it."""

from __future__ import annotations

import platform
from pathlib import Path

from microbatch.sizing.cgroups import read_text
from microbatch.sizing.cores import usable_cores

__all__ = ["processor_name"]


def processor_name(root: Path = Path("/")) -> str:
    """Model and usable cores; the architecture where the model is not told."""
    lines = (line.partition(":") for line in read_text(root / "proc/cpuinfo").splitlines())
    models = (value.strip() for name, _, value in lines if name.strip() == "model name")
    return f"{next(models, '') or platform.machine()}, {usable_cores(root)} cores"
