"""The command `microbatch run`, in a folder of its own, and what it has to leave there.

Invariant: whatever becomes of a run, the output is the whole new result, or exactly what was there before.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microbatch.cli.app import main

TARGET = """
import os
import time

import numpy as np


def doubled(x):
    return x * 2


def slowly(x):
    time.sleep(0.002)
    return x * 2


def several(x):
    time.sleep(0.002)
    return {"twice": x * 2, "sum": x.sum(1)}


def lengths(texts):
    return np.array([len(text) for text in texts])


def vanishing(x):
    if len(x) > 12 and x[0, 0] > 100:  # not where it is tried on a few rows
        import shutil
        shutil.rmtree("results", ignore_errors=True)
    return x * 2
"""
"""The functions that are run."""

COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from microbatch.cli.app import main
sys.exit(main(sys.argv[1:]))
"""
"""The command; what a shell starts in the background ignores SIGINT, and so would its children."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended."""

    code: int
    """Its exit code."""
    said: str
    """What it wrote to standard error."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run must leave under the name of its output."""

    path: Path
    """The output."""
    before: bytes | None
    """What was there before, None for nothing."""

    @classmethod
    def of(cls, path: Path, *, old: bool) -> Outcome:
        """An output, with an old file in its place or without."""
        if old:
            path.write_bytes(b"an old result")
        return cls(path, b"an old result" if old else None)

    @property
    def kept(self) -> bool:
        """Whether the place is as it was."""
        now = self.path.read_bytes() if self.path.exists() else None
        return now == self.before

    def parts(self) -> list[str]:
        """Names of part files beside it."""
        return sorted(each.name for each in self.path.parent.glob(f"{self.path.name}.part*"))


def made_in(folder: Path) -> Path:
    """Put the target there; returns the folder."""
    (folder / "steps.py").write_text(TARGET)
    return folder


def run_here(folder: Path, *arguments: str) -> Ended:
    """Run the command in this process."""
    errors, before, path = io.StringIO(), Path.cwd(), [*sys.path]
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main(["run", *arguments])
    finally:
        os.chdir(before)
        sys.path[:] = path
    return Ended(code, errors.getvalue())


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    command = [sys.executable, "-c", COMMAND, "run", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def same_arrays(path: Path, expected: dict[str, np.ndarray]) -> bool:
    """Whether a result file holds exactly these arrays; one of `.npy` is called ''."""
    found = np.load(path, allow_pickle=False)
    with contextlib.ExitStack() as stack:
        if not isinstance(found, np.ndarray):
            stack.enter_context(found)
        arrays = {"": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
        return arrays.keys() == expected.keys() and all(
            np.array_equal(arrays[name], expected[name]) for name in expected
        )
