"""`microbatch run` around files: several columns, standard input, JSON alone on standard output, help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microbatch.cli.app import main
from tests.support.command_line import PROGRAM, run

SOURCE = """
import os
import subprocess
import sys

import numpy as np

print("imported")


def noisy(x):
    print("from the function")
    os.write(1, b"from compiled code\\n")
    subprocess.run([sys.executable, "-c", "print('from a process')"])
    return x * 2


def lengths(texts):
    return np.array([len(text) for text in texts])


def both(text, n):
    return {"said": [each * count for each, count in zip(text, n)], "n": n + 1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and inputs, and the current one."""
    (tmp_path / "noisy_steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.arange(30.0))
    (tmp_path / "x.jsonl").write_text(
        "".join(json.dumps({"id": row, "text": "ab", "n": row % 3}) + "\n" for row in range(30))
    )
    (tmp_path / "x.csv").write_text("id,text,n\n" + "".join(f"{row},ab,{row % 3}\n" for row in range(30)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "noisy_steps", raising=False)
    return tmp_path


@pytest.mark.parametrize("command", ["run", "check", "tune"])
def test_json_is_alone_on_standard_output(folder: Path, command: str) -> None:
    """Whatever the target, compiled code and processes of it print goes to standard error."""
    more = {"run": ["-o", "y.npy"], "check": [], "tune": ["--sizes", "8"]}[command]
    end = run(folder, command, "noisy_steps.py:noisy", "-i", "x.npy", "--json", *more)
    assert end.code == 0, end.err
    assert isinstance(json.loads(end.out), dict)
    for said in ("imported", "from the function", "from compiled code", "from a process"):
        assert said in end.err


def test_json_in_this_process(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard output is no descriptor."""
    assert main(["run", "noisy_steps.py:both", "-i", "x.jsonl", "-o", "y.jsonl", "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["rows"] == 30
    assert "imported" in said.err


@pytest.mark.parametrize("source", ["x.jsonl", "x.csv"])
def test_columns_by_name_and_kept_ones(folder: Path, source: str) -> None:
    """Parameters get the columns of their names; others go along."""
    if source == "x.csv":
        pytest.importorskip("pyarrow")
    words = ["run", "noisy_steps.py:both", "-i", source, "-o", "y.jsonl", "--keep", "id", "--quiet"]
    assert main(words) == 0
    rows = [json.loads(line) for line in (folder / "y.jsonl").read_text().splitlines()]
    assert rows == [{"id": row, "said": "ab" * (row % 3), "n": row % 3 + 1} for row in range(30)]
    assert main([*words, "--column", "n,text", "--no-clobber"]) == 2
    assert main([*words, "--column", "n,text"]) == 0
    assert [json.loads(line) for line in (folder / "y.jsonl").read_text().splitlines()] == rows


def test_standard_input(folder: Path) -> None:
    """Lines are rows; how many there will be is not known."""
    command = [sys.executable, "-c", PROGRAM.format(before=""), "run", "noisy_steps.py:lengths"]
    lines = "".join("a" * (row % 50) + "\n" for row in range(3000))
    ended = subprocess.run(
        [*command, "-i", "-", "-o", "y.npy"],
        input=lines,
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
        timeout=100,
    )
    assert "rows      3,000 in" in ended.stdout
    assert np.load("y.npy").tolist() == [row % 50 for row in range(3000)]


def test_several_files_and_a_pattern(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order in which they are named; of a pattern in that of their names."""
    pytest.importorskip("pyarrow")
    for name in ("b", "a"):
        (folder / f"part-{name}.csv").write_text(f"text\n{name}\n{name}{name}\n")
    words = ["run", "noisy_steps.py:lengths", "-o", "y.npy", "--quiet"]
    assert main([*words, "-i", "part-*.csv"]) == 0
    assert main([*words, "-i", "part-b.csv", "-i", "part-a.csv"]) == 0
    assert np.load("y.npy").tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize("words", [["-h"], ["run", "-h"], ["check", "--help"], ["tune", "-h"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """In both spellings."""
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "Usage: microbatch" in said
    if words[0] == "run":
        for option in ("--resume", "--on-error", "--no-clobber", "--keep", "--arg", "-i", "-o"):
            assert option in said


@pytest.mark.parametrize(
    ("typed", "offered"), [("microbatch ru", "run"), ("microbatch run --res", "--resume")]
)
def test_completion(tmp_path: Path, typed: str, offered: str) -> None:
    """What a shell asks for while one types."""
    env = {
        "_MICROBATCH_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    assert offered in run(tmp_path, env=env).out.split()


def test_progress_of_a_check(folder: Path) -> None:
    """On a terminal, a line that goes at the end."""
    pty = pytest.importorskip("pty", reason="terminals as POSIX has them")
    owner, terminal = pty.openpty()
    command = [sys.executable, "-c", PROGRAM.format(before=""), "check", "noisy_steps.py:lengths", "-i"]
    (folder / "x.txt").write_text("a\n" * 50)
    with subprocess.Popen(
        [*command, "x.txt"], cwd=folder, stdout=subprocess.PIPE, stderr=terminal
    ) as process:
        os.close(terminal)
        said = b""
        try:
            while data := os.read(owner, 4096):
                said += data
        except OSError:  # its end, on Linux
            pass
        process.communicate(timeout=60)
    os.close(owner)
    assert process.returncode == 0
    assert b"tried 1 of " in said and b"cuts of 50 rows" in said
    assert said.endswith(b"\r\x1b[K")
