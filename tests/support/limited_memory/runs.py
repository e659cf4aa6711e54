"""Run one case twice, each time in a process of its own: the plain calls, and the wrapped ones."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.support.limited_memory.cases import Case
from tests.support.limited_memory.groups import memory_group

PATIENCE = 120
"""Seconds that a child may take; it takes some."""
ROOT = Path(__file__).parents[3]
"""Where `tests` is."""
PATIENT = {"OMP_WAIT_POLICY": "passive"}
"""Threads of OpenMP sleep where they wait: on a busy machine a call took 39 s while they spun, else 0.7 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the two children of a case ended."""

    plain_died: bool
    """Whether the plain call raised MemoryError, or was killed."""
    right: bool
    """Whether the wrapped calls gave the expected result."""
    text: str
    """What the children wrote, for whoever looks for the reason."""


def run_case(case: Case, *, in_group: bool) -> Ending:
    """Run both, in a control group, which ends the process, or with an address space that is limited.

    A child that hangs is ended and counts as wrong.
    """
    plain, wrapped = _run(case, "plain", in_group=in_group), _run(case, "wrapped", in_group=in_group)
    where = "control group" if in_group else "address space"
    return Ending(
        plain_died=plain.returncode < 0 or (plain.returncode > 0 and _names_memory(plain.stderr)),
        right=wrapped.returncode == 0 and wrapped.stdout.strip() == "right",
        text=f"{where}: {case}\nplain ended with {plain.returncode}: {plain.stderr[-600:]}\n"
        f"wrapped ended with {wrapped.returncode}: {wrapped.stdout}{wrapped.stderr[-3000:]}",
    )


def _names_memory(text: str) -> bool:
    """Whether an error is of memory; torch raises a RuntimeError of its allocator."""
    return "MemoryError" in text or "can't allocate memory" in text


def _run(case: Case, how: str, *, in_group: bool) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder, memory_group() if in_group else nullcontext() as group:
        words = [sys.executable, "-m", f"{__package__}.child", how, str(case), folder]
        words += [] if group is None else [str(group)]
        try:
            return subprocess.run(
                words, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT,
                env={**os.environ, **PATIENT},
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            return subprocess.CompletedProcess(words, 1, "", f"it did not end: {late}")
