"""Over a hundred damaged inputs: each is refused with its path, and the function is never blamed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from microbatch.cli.app import main
from tests.support.damaged_files import DAMAGED

SOURCE = """
def same(x):
    return x
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a target and a former result."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / ".git").mkdir()
    (folder / "steps.py").write_text(SOURCE)
    (folder / "y.npy").write_bytes(b"former")
    return folder


def test_there_are_a_hundred_of_them() -> None:
    assert len(DAMAGED) >= 100


def files_in(folder: Path) -> list[Path]:
    """All but what Python keeps of the target."""
    return sorted(path for path in folder.iterdir() if path.name != "__pycache__")


@pytest.mark.parametrize("name", DAMAGED)
def test_refused(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that begins with the path and ends with what to do, exit code 2, and no file anywhere."""
    damaged = DAMAGED[name]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    source = Path(f"x{damaged.suffix}")
    source.write_bytes(damaged.data)
    before = files_in(folder)
    assert main(["run", "steps.py:same", "--input", str(source), "--output", "y.npy"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {source}") and said.err.count("\n") == 1
    assert "; " in said.err and "steps.py" not in said.err
    assert (folder / "y.npy").read_bytes() == b"former"
    assert files_in(folder) == before
    source.unlink()
