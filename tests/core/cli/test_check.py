"""`microbatch check`: the exit code is the answer."""

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

def length(texts):
    return np.array([len(text) for text in texts])

def pair(x, y):
    return x + y

def stop(x):
    raise KeyboardInterrupt

def fail(x):
    raise ValueError("no such model")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and inputs, and the current one."""
    (tmp_path / "checked_steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((200, 3)))
    (tmp_path / "x.txt").write_text("".join("a" * (index % 7) + "\n" for index in range(200)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def check(function: str, *more: str, source: str = "x.npy") -> int:
    """The command in this process."""
    return main(["check", f"checked_steps.py:{function}", "--input", source, *more])


@pytest.mark.parametrize(("function", "source"), [("double", "x.npy"), ("length", "x.txt")])
def test_may_be_cut(capsys: pytest.CaptureFixture[str], function: str, source: str) -> None:
    """Exit code 0, and on how many rows it was tried."""
    assert check(function, source=source) == 0
    said = capsys.readouterr().out
    assert "may be cut" in said
    assert "tried on 64 of 200 rows" in said


def test_must_not_be_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and where the answers differ."""
    assert check("centred", "--rows", "10") == 1
    said = capsys.readouterr().out
    assert "must not be cut" in said
    assert "output, row 0" in said


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The report as one object."""
    assert check("centred", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["cuttable"] is False
    assert report["differences"]


@pytest.mark.parametrize(
    ("function", "more", "text"),
    [
        ("fail", [], "ValueError: no such model"),
        ("double", ["--rows", "1"], "--rows is 1"),
        ("double", ["--backend", "cpuu"], "did you mean 'cpu'"),
        ("douple", [], "did you mean 'double'"),
        ("pair", [], "checked_steps.py:pair(x, y) cannot be called with 1 array from x.npy"),
    ],
)
def test_no_answer(capsys: pytest.CaptureFixture[str], function: str, more: list[str], text: str) -> None:
    """Exit code 2, and why."""
    assert check(function, *more) == 2
    assert text in capsys.readouterr().err


def test_an_interrupt_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 130, as shells report Ctrl-C."""
    assert check("stop") == 130
    assert capsys.readouterr().err == "interrupted; there is no answer\n"
