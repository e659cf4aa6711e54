"""`microbatch history`: shows what a run kept, forgets it, and says where to look when there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import microbatch
from microbatch.cli.app import main


def double(x: np.ndarray) -> np.ndarray:
    return x * 2


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "sizes.db"
    with microbatch.wrap(double, history=str(path), model="mine") as wrapped:
        for _ in range(20):
            wrapped(np.ones((64, 8)))
    return path


def test_show_lists_what_a_run_kept(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "show", "--path", str(kept), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["fields"]["model"] == "mine"
    assert entry["fields"]["backend"] == "cpu"
    assert main(["history", "show", "--path", str(kept)]) == 0
    assert "mine" in capsys.readouterr().out


def test_clear_forgets(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "clear", "--path", str(kept), "--model", "other"]) == 0
    assert "forgot 0" in capsys.readouterr().out
    assert main(["history", "clear", "--path", str(kept)]) == 0
    assert "forgot 1" in capsys.readouterr().out


def test_show_is_what_it_does_when_nothing_is_said(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "--path", str(kept)]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["history", "--path", str(kept), "--model", "other"]) == 0
    assert capsys.readouterr().out == f"{kept} holds nothing of the model 'other'\n"


@pytest.mark.bad_input(65)
@pytest.mark.parametrize("action", ["show", "clear"])
def test_a_file_that_is_no_history_is_an_error(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones(100))
    before = path.read_bytes()
    assert main(["history", action, "--path", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"error: history {str(path)!r} cannot be used (file is not a database); name a file that a run has "
        "kept\n"
    )
    assert path.read_bytes() == before


def test_the_configured_path_is_the_default(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROBATCH_HISTORY", str(kept))
    assert main(["history", "show"]) == 0
    assert "mine" in capsys.readouterr().out


def test_no_history_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MICROBATCH_HISTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["history", "show"]) == 2
    assert "MICROBATCH_HISTORY" in capsys.readouterr().err
    assert main(["history", "show", "--path", "nothing.db"]) == 2
    assert "does not exist" in capsys.readouterr().err
