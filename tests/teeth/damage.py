"""Copies of the packages with something taken out, and whether tests notice.

Invariant: the working tree is never touched; a copy is whole again after each removal. A removal after which tests
cannot even be collected says nothing, and is an error of the table that asked for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ROOT", "copied", "first_failure", "replaced"]

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("core", "backends", "plugins")
LIMIT = 120
"""Seconds after which tests count as hanging."""


@contextmanager
def copied() -> Iterator[Path]:
    """A folder with copies of all our packages."""
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCE_ROOTS:
            shutil.copytree(
                ROOT / source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        yield Path(folder)


@contextmanager
def replaced(path: Path, source: bytes) -> Iterator[None]:
    """`path` with the contents `source` for the time of the block."""
    whole = path.read_bytes()
    path.write_bytes(source)
    try:
        yield
    finally:
        path.write_bytes(whole)


def first_failure(packages: Path, *arguments: str) -> str:
    """Name of the first test that fails with the packages in `packages`; empty if all pass.

    `arguments` are pytest's: files, tests, options. RuntimeError where the tests cannot run.
    """
    environment = {**os.environ, "PYTHONPATH": str(packages), "HYPOTHESIS_PROFILE": "dev"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # two edits within a second would share one cached file
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--no-header",
        *arguments,
    ]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {LIMIT} s"
    if done.returncode == 0:
        return ""
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR")) and "::" in line]
    if done.returncode != 1 or not failed:
        raise RuntimeError(
            f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return failed[0].split("::")[-1].split(" - ")[0]
