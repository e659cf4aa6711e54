"""Somebody who follows a page literally in an empty folder, without a network.

Invariant: nothing outside of the folder is written, and what runs are the packages that the tests run. Blocks
of Python run in one namespace, blocks of commands in a shell that stays where the one before went. `pip
install -e .` makes a package known as pip would, and any other `pip install` does nothing, as everything is
there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.blocks import ROOT, Block

COMMANDS = {
    "python": 'exec "{python}" -W ignore "$@"',
    "microbatch": 'exec "{python}" -m microbatch "$@"',
    "pytest": 'exec "{python}" -m pytest -p no:cacheprovider "$@"',
    "torchrun": 'exec "{python}" -W ignore -m torch.distributed.run "$@"',
    "pip": 'exec "{python}" "{pip}" "$@"',
}
"""What stands for the commands that a reader has."""
SECONDS = 200
"""Longer than any block takes."""


class Reader:
    """One who reads one page."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._tools, self._home = folder / "tools", folder / "here"
        for path in (self._tools / "lib", self._home / ".venv"):
            path.mkdir(parents=True)
        for name, line in COMMANDS.items():
            self._write_command(
                name, line.format(python=sys.executable, pip=ROOT / "tests/docs/pretend_pip.py")
            )
        (self._home / ".venv/bin").symlink_to(self._tools)
        (self._home / "examples").symlink_to(ROOT / "examples")
        self._module = ModuleType("page")
        patch.setitem(sys.modules, "page", self._module)
        patch.syspath_prepend(self._home)
        patch.chdir(self._home)

    def _write_command(self, name: str, line: str) -> None:
        command = self._tools / name
        command.write_text(f"#!/bin/sh\n{line}\n")
        command.chmod(0o755)

    def follow(self, block: Block, page: str) -> None:
        """Do what a block says. Raises what its code raises; AssertionError where a command fails."""
        if block.language == "diff":
            assert block.title is not None
            change(Path(block.title), block.code)
        elif block.title is not None:
            Path(block.title).write_text(block.code, encoding="utf-8")
        elif block.language == "bash":
            self._run(block.code)
        else:
            exec(compile(block.code, page, "exec"), self._module.__dict__)  # noqa: S102 - our own page

    def _run(self, script: str) -> None:
        where = self._tools / "where"
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", f'{script}\npwd > "{where}"'],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        os.chdir(where.read_text().strip())

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self._tools), os.environ["PATH"]])
        packages = [str(self._tools / "lib"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": os.pathsep.join(packages),
            "PRETEND_LIBRARY": str(self._tools / "lib"),
            "HF_HUB_OFFLINE": "1",
            "HYPOTHESIS_PROFILE": "default",
        }


def change(file: Path, hunks: str) -> None:
    """Make a change as a reader does who finds the lines. Hunks are split by @@, and each is found once."""
    text = file.read_text(encoding="utf-8")
    for hunk in hunks.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in "- ")
        new = "".join(line[1:] for line in lines if line[0] in "+ ")
        assert text.count(old) == 1, f"{file} does not have this once:\n{old}"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
