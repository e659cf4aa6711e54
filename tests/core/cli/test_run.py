"""`microbatch run`: right rows in a whole file, or no file and a reason."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microbatch.cli.app import main

SOURCE = r"""
import operator
import os
import threading

import numpy as np

entered, never = threading.Event(), threading.Event()


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


def stuck(x):
    if x[0] >= 50:
        os.write(2, b"ready\n")
        never.wait()
    return x


def stuck_worker(x):
    if threading.current_thread() is not threading.main_thread():
        os.write(2, b"ready\n")
        entered.set()
        never.wait()
    entered.wait()
    return x
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
    return main(["run", f"steps.py:{function}", "--input", source, "--output", to, *more])


HEARS_INTERRUPTS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from microbatch.cli.app import main
sys.exit(main(sys.argv[1:]))
"""
"""The command; a test run started in the background ignores SIGINT, and its children would too."""


def started(function: str, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-c", HEARS_INTERRUPTS, "run", f"steps.py:{function}", "--input", "x.npy"]
    return subprocess.Popen([*command, "--output", "y.npy", *more], stderr=subprocess.PIPE, text=True)


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    """Read what it says until the function says that it is stuck."""
    assert process.stderr is not None
    for line in process.stderr:
        if line == "ready\n":
            return
    process.communicate()
    raise AssertionError("the process ended before the function was called")


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
            ("double", ["--output", "y.txt"], "y.txt is of no kind that can be written"),
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


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.counted
class TestInterrupts:
    """Signals and full disks, in processes of their own."""

    @pytest.mark.parametrize(
        ("function", "options", "signals", "code"),
        [
            ("stuck", ["--schedule", "sequential"], [signal.SIGINT], 130),
            ("stuck", ["--schedule", "sequential"], [signal.SIGTERM], 143),
            ("stuck_worker", ["--schedule", "parallel"], [signal.SIGINT], 130),
            ("stuck_worker", ["--schedule", "parallel"], [signal.SIGINT, signal.SIGINT], 130),
        ],
    )
    def test_stops_and_says_so(
        self, folder: Path, function: str, options: list[str], signals: list[signal.Signals], code: int
    ) -> None:
        """Also when a worker never comes back; nothing is left but what was there."""
        (folder / "y.npy").write_bytes(b"former")
        process = started(function, "--num-ubatches", "2", "--workers", "2", *options)
        wait_until_ready(process)
        for number in signals:
            process.send_signal(number)
        _, said = process.communicate(timeout=120)
        assert process.returncode == code
        assert "interrupted after " in said
        assert said.endswith(" of 100 rows; nothing was written to y.npy\n")
        assert (folder / "y.npy").read_bytes() == b"former"
        assert not list(folder.glob("*.part-*"))

    def test_rows_done_are_told(self, folder: Path) -> None:
        """The first half was done when the second got stuck."""
        process = started("stuck", "--num-ubatches", "2", "--schedule", "sequential")
        wait_until_ready(process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        assert "interrupted after 50 of 100 rows; nothing was written to y.npy" in said

    def test_killed(self, folder: Path) -> None:
        """Only the part file is left, and the next run removes it."""
        process = started("stuck", "--num-ubatches", "2", "--schedule", "sequential")
        wait_until_ready(process)
        process.kill()
        process.communicate()
        assert [path.name for path in folder.glob("y.npy*")] == [f"y.npy.part-{process.pid}"]
        assert run("double") == 0
        assert [path.name for path in folder.glob("y.npy*")] == ["y.npy"]

    @pytest.mark.parametrize("to", ["y.npy", "y.npz"])
    def test_no_space(self, folder: Path, to: str) -> None:
        """A file that may not grow to its size: the reason, and nothing half."""
        np.save("x.npy", np.zeros(100_000))
        command = [
            sys.executable,
            "-m",
            "microbatch",
            "run",
            "steps.py:double",
            "--input",
            "x.npy",
            "--output",
            to,
        ]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        )
        assert done.returncode == 2
        assert "File too large" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(folder.glob("y.np*"))
