"""Standard output and error may be closed, full, or their readers gone: the work is done all the same.

In this process the streams are real files on which writing fails; that the descriptors are taken care of is
shown in processes of their own.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microbatch.cli.app import COMMANDS, main
from microbatch.cli.streams import Stream, say
from microbatch.sizing.history import History, HistoryKey
from tests.support.command_line import run

SOURCE = """
import sys

def double(x):
    return 2 * x

def chatty(x):
    print("a line of the function")
    sys.stderr.write("another\\n")
    return 2 * x

def total(x):
    return x - x.mean()

def fail(x):
    raise ValueError("no such model")
"""
GONE = ("closed", "full", "no reader")
REASONS = {"closed": "Bad file descriptor", "full": "No space left on device", "no reader": "Broken pipe"}
WORDS = {
    **{name: [name] for name in COMMANDS},
    "run": ["run", "steps.py:double", "--input", "x.npy", "--output", "y.npy"],
    "run --json": ["run", "steps.py:chatty", "--input", "x.npy", "--output", "y.npy", "--json"],
    "check": ["check", "steps.py:double", "--input", "x.npy"],
    "tune": ["tune", "steps.py:double", "--input", "x.npy", "--sizes", "10,20"],
    "doctor": ["doctor", "steps.py:double", "--input", "x.npy"],
    "history": ["history", "show", "--path", "h.db"],
    "new": ["new", "policy", "half-life"],
    "races": ["races", "steps.py:double", "--input", "x.npy"],
    "--help": ["--help"],
    "--version": ["--version"],
    "run --help": ["run", "--help"],
}
if find_spec("torch") is None:
    del WORDS["races"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with targets, an input and a history, and the current one."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.arange(100.0))
    key = HistoryKey(model="m", policy="auto", backend="cpu", capacity=1, workers=1)
    History(tmp_path / "h.db").save(key, {"a": 1})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@contextlib.contextmanager
def unwritable(how: str) -> Iterator[Any]:
    """A stream on which writing fails, by an error of the system."""
    if how == "closed":
        yield None
        return
    if how == "full":
        number = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, number = os.pipe()
        os.close(reader)
    stream = os.fdopen(number, "w")
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):  # what is buffered cannot be written now either
            stream.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("how", GONE)
@pytest.mark.parametrize("command", WORDS)
def test_standard_output(
    command: str, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, and one line that says why and what is complete; of a listing nobody reads, none."""
    with unwritable(how) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(WORDS[command]) == 3
    said = capsys.readouterr().err.splitlines()
    line = f"standard output could not be written ({REASONS[how]})"
    if command in ("run", "run --json"):
        assert said[-1] == f"error: y.npy is complete, but {line}"
        np.testing.assert_array_equal(np.load("y.npy"), 2 * np.arange(100.0))
    else:
        assert said == ([] if how == "no reader" else [f"error: {line}"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("how", GONE)
@pytest.mark.parametrize(
    ("words", "code"),
    [
        *((words, 0) for words in WORDS.values()),
        (["run", "steps.py:fail", "--input", "x.npy", "--output", "y.npy"], 1),
        (["check", "steps.py:total", "--input", "x.npy"], 1),
        (["run", "steps.py:duoble", "--input", "x.npy", "--output", "y.npy"], 2),
        (["run", "--nope"], 2),
        (["nope"], 2),
    ],
    ids=str,
)
def test_standard_error(
    words: list[str], code: int, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Progress, warnings and errors are lost; the exit code and the work are what they would have been."""
    monkeypatch.setenv("MICROBATCH_NO_SUCH_THING", "1")
    with unwritable(how) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert main(words) == code
    assert os.path.exists("y.npy") == (words[0] == "run" and code == 0 and "--help" not in words)
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full, and descriptors as POSIX has them")
def test_closed_descriptors_are_not_given_to_the_files_that_are_opened(folder: Path) -> None:
    """Else what is printed would go into the output: `2>&-` leaves 2 as the lowest free number."""
    (folder / "steps.py").write_text(
        'import os\n\ndef noisy(x):\n    for n in (1, 2):\n        os.write(n, b"noise")\n    return 2 * x\n'
    )
    words = ("run", "steps.py:noisy", "--input", "x.npy", "--output", "y.npy")
    end = run(folder, *words, redirect="<&- >&- 2>&-")
    assert (end.code, end.out, end.err) == (3, "", "")
    np.testing.assert_array_equal(np.load("y.npy"), 2 * np.arange(100.0))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_full_streams_of_a_process(folder: Path) -> None:
    """Python flushes both once more when it ends; that must neither be reported nor change the exit code."""
    words = ("run", "steps.py:chatty", "--input", "x.npy", "--output", "y.npy")
    assert run(folder, *words, redirect=">/dev/full 2>/dev/full").code == 3
    end = run(folder, *words, redirect=">/dev/full")
    assert end.code == 3
    assert end.err.endswith(
        "error: y.npy is complete, but standard output could not be written (No space left on device)\n"
    )
    np.testing.assert_array_equal(np.load("y.npy"), 2 * np.arange(100.0))


def test_characters_that_the_encoding_has_not() -> None:
    """They are written as escapes."""
    data = io.BytesIO()
    stream = Stream(io.TextIOWrapper(data, encoding="ascii"))
    stream.write("café \udcff\n")
    stream.flush()
    assert data.getvalue() == b"caf\\xe9 \\udcff\n"
    assert stream.failed is None


def test_a_stream_is_otherwise_the_one_behind_it() -> None:
    """Its other attributes are asked of that."""
    inner = io.StringIO()
    stream = Stream(inner)
    print("text", file=stream)  # type: ignore[call-overload]
    assert inner.getvalue() == stream.getvalue() == "text\n"
    assert not stream.isatty()


def test_a_stream_that_the_function_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is full from then on."""
    inner = io.StringIO()
    stream = Stream(inner)
    inner.close()
    stream.write("text")
    stream.flush()
    assert isinstance(stream.failed, ValueError)
    monkeypatch.setattr(sys, "stderr", inner)
    say("nobody hears this")
