"""`microbatch run`: right rows in a whole file, or no file and a reason."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microbatch.cli.app import main

SOURCE = r"""
import operator

import numpy as np


def double(x):
    return 2 * x


def two(x, y):
    return {"sum": x + y, "parts": (x, y)}


def length(texts):
    return np.array([[len(text)] for text in texts])


def total(x):
    return float(x.sum())


item = operator.itemgetter("no")


def leave(x):
    raise SystemExit("no licence")


def fail(x):
    raise ValueError(f"row {x[0]} is bad")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and inputs, and the current one."""
    (tmp_path / "steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.arange(100.0))
    (tmp_path / "x.txt").write_text("".join("a" * (index * 37 % 50) + "\n" for index in range(100)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def run(function: str, *more: str, source: str = "x.npy", to: str = "y.npy") -> int:
    """The command in this process."""
    given = [] if "--input" in more else ["--input", source]
    return main(["run", f"steps.py:{function}", *given, "--output", to, *more])


class TestResults:
    """What is in the file is what the plain call returns."""

    @pytest.mark.parametrize("count", ["1", "3", "100"])
    def test_array(self, folder: Path, count: str) -> None:
        """However it is cut."""
        assert run("double", "--num-ubatches", count) == 0
        np.testing.assert_array_equal(np.load("y.npy"), 2 * np.arange(100.0))
        assert not list(folder.glob("*.part-*"))

    def test_texts_keep_their_order(self, folder: Path) -> None:
        """Packed by length, and put back in the order of the lines."""
        assert run("length", "--max-tokens", "100", source="x.txt") == 0
        assert np.load("y.npy")[:, 0].tolist() == [index * 37 % 50 for index in range(100)]

    @pytest.mark.parametrize("names", [("x", "y"), ("p", "q")])
    def test_several_arrays(self, folder: Path, names: tuple[str, str]) -> None:
        """In by name or position, out by name."""
        first, second = np.arange(9.0), np.ones(9)
        arrays: dict[str, Any] = dict(zip(names, (first, second), strict=True))
        np.savez("in.npz", **arrays)
        assert run("two", "--num-ubatches", "2", source="in.npz", to="out.npz") == 0
        with np.load("out.npz") as out:
            assert set(out) == {"sum", "parts.0", "parts.1"}
            np.testing.assert_array_equal(out["sum"], first + second)
            np.testing.assert_array_equal(out["parts.1"], second)

    def test_no_rows(self, folder: Path) -> None:
        """An empty batch gives an empty result."""
        np.save("x.npy", np.empty((0, 3)))
        assert run("double") == 0
        assert np.load("y.npy").shape == (0, 3)


class TestSummary:
    """The numbers people and programs read."""

    def test_json(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """One object on standard output, progress on standard error."""
        assert run("double", "--num-ubatches", "4", "--json") == 0
        said = capsys.readouterr()
        summary = json.loads(said.out)
        assert summary["rows"] == 100
        assert summary["ubatches"] == 4
        assert summary["size_min"] == summary["size_max"] == 25
        assert summary["backend"] == "cpu"
        assert summary["reason"]
        assert summary["output_shape"] == [100]
        assert summary["output_dtype"] == "float64"
        assert summary["output_bytes"] == os.path.getsize("y.npy")
        assert "100 of 100 rows (100 %)" in said.err

    def test_text(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What it was cut into and why, and what came out."""
        assert run("length", "--max-tokens", "200", "--quiet", source="x.txt") == 0
        said = capsys.readouterr()
        assert said.err == ""
        assert [line.split()[0] for line in said.out.splitlines()] == [
            "rows", "cut", "why", "sizes", "ran", "padding", "memory", "output",
        ]  # fmt: skip
        assert "y.npy: 100 x 1 int64" in said.out


class TestMistakes:
    """Found before the work; nothing is written and a former result stays."""

    @pytest.mark.parametrize(
        ("function", "more", "text"),
        [
            ("double", ["--output", "y.doc"], "y.doc is of no kind that can be written"),
            ("double", ["--output", "x.npy"], "is the input file itself"),
            ("double", ["--output", "x.txt/y.npy"], "folder of x.txt/y.npy does not exist"),
            ("double", ["--input", "no.npy"], "no.npy does not exist"),
            ("double", ["--input", "short.npy"], "short.npy is cut short"),
            ("duoble", [], "did you mean 'double'"),
            ("double", ["--backend", "cpuu"], "did you mean 'cpu'"),
            ("double", ["--policy", "fixedd"], "did you mean 'fixed'"),
            ("double", ["--splitter", "evenn"], "did you mean 'even'"),
            ("double", ["--num-ubatches", "0"], "num_ubatches is 0"),
            ("double", ["--workers", "0"], "^error: --workers is 0; it must be from 1"),
            ("double", ["--max-tokens", "-1"], "^error: --max-tokens is -1; it must be from 1"),
            (
                "two",
                [],
                r"steps.py:two\(x, y\) cannot be called with 1 array from x.npy: missing .* 'y'; .*\.npz",
            ),
            ("two", ["--input", "x.txt"], "cannot be called with one list of texts from x.txt"),
            ("double", ["--memory-limit", "2G"], "memory_limit: '2G' has no unit"),
            ("two", ["--num-ubatches", "2", "--input", "in.npz"], "returns several arrays .* use .npz"),
            ("total", [], "no array with a row for each|not per row"),
        ],
    )
    def test_refused(
        self, folder: Path, capsys: pytest.CaptureFixture[str], function: str, more: list[str], text: str
    ) -> None:
        """One line on standard error and exit code 2."""
        (folder / "y.npy").write_bytes(b"former")
        (folder / "short.npy").write_bytes((folder / "x.npy").read_bytes()[:-1])
        np.savez("in.npz", x=np.ones(4), y=np.ones(4))
        before = (folder / "x.npy").read_bytes()
        assert run(function, *more) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert re.search(text, said.err), said.err
        assert (folder / "y.npy").read_bytes() == b"former"
        assert (folder / "x.npy").read_bytes() == before
        assert not list(folder.glob("*.part-*"))

    def test_an_error_of_compiled_code_has_no_frames_of_ours(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """There is no line of the user's to show."""
        assert run("item", "--quiet") == 1
        said = capsys.readouterr().err
        assert said.startswith("IndexError: ") and "Traceback" not in said and "microbatch/" not in said

    def test_the_functions_own_exit(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Ends the command as it would have ended a script: with its reason."""
        assert run("leave", "--quiet") == 1
        assert capsys.readouterr().err == "no licence\n"
        assert not list(folder.glob("y.npy*"))

    @pytest.mark.counted
    def test_the_functions_own_error(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Its traceback from its own file on, which rows, and what became of the output."""
        assert run("fail", "--num-ubatches", "2", "--schedule", "sequential") == 1
        said = capsys.readouterr().err
        assert 'steps.py", line' in said
        assert "ValueError: row 0.0 is bad" in said
        assert "in ubatch 0 of 2 (tokens 0:50)" in said
        assert "core/microbatch" not in said
        assert said.endswith("error: steps.py:fail failed; nothing was written to y.npy\n")
        assert not list(folder.glob("y.npy*"))
