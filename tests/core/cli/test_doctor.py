"""`microbatch doctor` and `--timeline`: what is said, what is written, and what is refused beforehand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from microbatch.cli.app import main

SOURCE = """
import numpy as np

def double(x):
    return 2 * x

def centred(x):
    return x - x.mean(0)

def fail(x):
    raise ValueError("no such model")
"""

pytestmark = pytest.mark.filterwarnings("ignore:the function is not cut")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and an input, and the current one."""
    (tmp_path / "seen_steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((200, 3)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def doctor(function: str, *more: str) -> int:
    """The command in this process."""
    return main(["doctor", f"seen_steps.py:{function}", "--input", "x.npy", *more])


def test_figures_and_causes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred parts of two rows are too small."""
    assert doctor("double", "--num-ubatches", "100", "--schedule", "sequential") == 0
    said = capsys.readouterr().out
    assert "1 step, 100 ubatches" in said
    assert "so small" in said and "100 parts" in said


def test_what_may_not_be_cut_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0: that is what was asked."""
    assert doctor("centred", "--num-ubatches", "2") == 0
    said = capsys.readouterr()
    assert "may not be cut" in said.out or "may not be cut" in said.err


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures and findings as one object."""
    assert doctor("double", "--num-ubatches", "100", "--schedule", "sequential", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["ubatches"] == 100
    assert [finding["cause"] for finding in told["findings"]] == ["parts too small"]


@pytest.mark.parametrize("name", ["seen.html", "seen.json"])
def test_the_timeline_is_written(folder: Path, name: str) -> None:
    """By the doctor, and by a run."""
    for command in (["doctor"], ["run", "--output", "y.npy", "--quiet"]):
        words = [command[0], "seen_steps.py:double", "--input", "x.npy", *command[1:], "--timeline", name]
        assert main(words) == 0
        text = (folder / name).read_text("utf-8")
        assert "compute" in text
        (folder / name).unlink()


def test_a_run_that_failed_is_written_too(folder: Path) -> None:
    """What ran until then."""
    words = ["run", "seen_steps.py:fail", "--input", "x.npy", "--output", "y.npy", "--quiet"]
    assert main([*words, "--timeline", "seen.json"]) == 1
    assert (folder / "seen.json").exists()
    assert not (folder / "y.npy").exists()


@pytest.mark.parametrize(("name", "text"), [("seen.png", "no kind"), ("none/seen.html", "does not exist")])
def test_a_file_that_cannot_be_written_is_refused_first(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    """Before the function is called."""
    words = ["run", "seen_steps.py:fail", "--input", "x.npy", "--output", "y.npy", "--quiet"]
    assert main([*words, "--timeline", name]) == 2
    assert text in capsys.readouterr().err


def test_a_function_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """Its error, and that there is no answer."""
    assert doctor("fail") == 2
    assert "no such model" in capsys.readouterr().err
