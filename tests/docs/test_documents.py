"""The Python code of the documents runs as printed, and what they name exists."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch_backends.rows.announced import ROWS

ROOT = Path(__file__).parents[2]


def blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def centred(x: Any) -> Any:
    return x * 2


def test_the_code_of_the_testing_page_runs() -> None:
    names: dict[str, Any] = {"__name__": "testing_page"}
    for code in blocks("docs/testing.md"):
        if "import torch\n" in code and importlib.util.find_spec("torch") is None:
            continue
        exec(compile(code, "docs/testing.md", "exec"), names)  # noqa: S102 - our own page
    assert {"TestFixed", "race", "double"} <= set(names)


def test_the_code_of_the_page_for_engines_runs() -> None:
    names: dict[str, Any] = {"__name__": "engines_page"}
    for code in blocks("docs/engines.md"):
        exec(compile(code, "docs/engines.md", "exec"), names)  # noqa: S102 - our own page
    assert names["step"].real_tokens == (2, 2, 1, 0)


def test_the_code_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"f": centred, "x": np.arange(2000.0).reshape(1000, 2)}
    for code in blocks("README.md"):
        exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - our own page
    np.testing.assert_array_equal(names["y"], names["x"] * 2)
    assert "must not be cut" in capsys.readouterr().out


def test_the_code_of_the_page_on_files_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks("docs/files.md"):
        exec(compile(code, "docs/files.md", "exec"), {"__name__": "files_page"})  # noqa: S102 - our own page
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["x.npy", "y.npy"]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell as POSIX has it")
def test_the_commands_on_files_run_as_printed(tmp_path: Path) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    command = tmp_path / ".venv/bin/microbatch"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m microbatch "$@"\n')
    command.chmod(0o755)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples/words.py").write_bytes((ROOT / "examples/words.py").read_bytes())
    section = (ROOT / "README.md").read_text().partition("## From one file to a cluster")[2]
    script, _ = re.findall(r"```bash\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=True, timeout=200)
    counts = (tmp_path / "counts.jsonl").read_text().splitlines()
    assert len(counts) == 3000 and counts[0] == '{"id":1,"words":4,"letters":13}'
    assert (tmp_path / "short.jsonl").read_text().splitlines()[2] == '"row 3"'
    assert (tmp_path / "short.jsonl.errors.jsonl").read_text() == ""
    assert len((tmp_path / "first.txt").read_text().splitlines()) == 3000


def test_the_code_of_the_page_on_wrappers_runs() -> None:
    names: dict[str, Any] = {"__name__": "wrapper_page"}
    for code in blocks("docs/wrapper.md")[:1]:
        exec(compile(code, "docs/wrapper.md", "exec"), names)  # noqa: S102 - our own page
    x = np.arange(1.0, 13.0).reshape(4, 3)
    np.testing.assert_allclose(np.linalg.norm(names["normalise"](x), axis=1), 1)
    np.testing.assert_array_equal(names["Encoder"](np.eye(3)).encode(x), x)
    assert names["normalise"].__doc__ == "Rows of length one."


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/benchmarks.md",
        "docs/clusters.md",
        "docs/data.md",
        "docs/engines.md",
        "docs/plugins.md",
        "docs/testing.md",
        "docs/wrapper.md",
    ],
)
def test_files_that_a_document_names_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = set(
        re.findall(r"`((?:core|backends|plugins|examples|benchmarks|docs|specs|tests)/[\w./-]*)", text)
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing


def test_every_public_name_can_be_imported() -> None:
    for name in microbatch.__all__:
        assert getattr(microbatch, name) is not None


def test_the_table_of_types_is_what_is_announced() -> None:
    """Each type with rows that comes with microbatch, with the same remark, and no other."""
    page = (ROOT / "docs/data.md").read_text()
    written = re.findall(r"^\| table \| `([\w.:]+)` \| (.+) \|$", page, re.MULTILINE)
    assert written == [(info.type, info.summary) for info in ROWS]


def test_who_cites_it_cites_this_version() -> None:
    assert f"\nversion: {microbatch.__version__}\n" in (ROOT / "CITATION.cff").read_text()
