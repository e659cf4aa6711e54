"""The example of ranks: each writes its rows of one file, one process does too, and a failure ends all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the ranks are those of torch.distributed")

EXAMPLE = Path(__file__).parents[2] / "examples" / "embed_ranks.py"
HASHING = """
import os, signal
import numpy as np

def embed(texts):
    if os.environ.get("RANK") == "1" and any(text == "bad" for text in texts):
        raise ValueError("rank 1 does not like this text")
    if os.environ.get("RANK") == "1" and any(text == "deadly" for text in texts):
        os.kill(os.getpid(), signal.SIGKILL)
    if len(texts) > 9:
        raise MemoryError("too many texts")
    return np.array([[len(text), sum(map(ord, text)), 1] for text in texts], np.float32).reshape(-1, 3)
"""


def ran(folder: Path, texts: list[str], processes: int) -> subprocess.CompletedProcess[str]:
    (folder / "hashing.py").write_text(HASHING)
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    script = [str(EXAMPLE), "texts.txt", "vectors.npy", "--function", "hashing:embed"]
    return subprocess.run(
        [sys.executable, *(start if processes else []), *script],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        check=False,
    )


@pytest.mark.parametrize(("processes", "rows"), [(0, 50), (2, 51), (2, 1)])
def test_all_rows_are_in_one_file(tmp_path: Path, processes: int, rows: int) -> None:
    """Parts of nine texts at most fit; with two ranks and one row, one rank has none."""
    texts = [f"text \u00e9 {'x' * (row % 13)}{row}" for row in range(rows)]
    done = ran(tmp_path, texts, processes)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert f"{rows} texts as vectors of 3" in line and "vectors.npy" in line
    expected = np.array([[len(text), sum(map(ord, text)), 1] for text in texts], np.float32)
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), expected)
    assert not (tmp_path / "vectors.npy.part").exists()


@pytest.mark.parametrize(("bad", "says"), [("bad", "rank 1 does not like this text"), ("deadly", "SIGKILL")])
def test_a_rank_that_fails_ends_all_with_its_error(tmp_path: Path, bad: str, says: str) -> None:
    """By an error, or killed; no file has the name of the output."""
    done = ran(tmp_path, ["good"] * 30 + [bad], 2)
    assert done.returncode != 0
    assert says in done.stderr
    assert not (tmp_path / "vectors.npy").exists() and not done.stdout
