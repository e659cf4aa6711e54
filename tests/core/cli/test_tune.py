"""`microbatch tune`: what it prints, draws and writes."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microbatch.cli.app import main
from microbatch.cli.config_writer import write_config
from microbatch.cli.run_state import RunState
from microbatch.errors import ArgumentValueError, ConfigError, OutputFileError
from microbatch.options.checks import increasing_in_text
from microbatch_backends.host.backend import CpuBackend

SOURCE = """
import numpy as np

calls = []

def wide(x):
    calls.append(len(x))
    return (x[:, :1] + np.zeros(20_000)).sum(1)

def length(texts):
    calls.append(len(texts))
    return np.array([len(text) for text in texts])

def stop(x):
    raise KeyboardInterrupt

def pair(x, y):
    return x + y

def fail(x):
    raise ValueError("no such model")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and inputs, and the current one."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "tuned_steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((600, 3)))
    (tmp_path / "x.txt").write_text("".join("a" * (index % 7) + "\n" for index in range(200)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if "tuned_steps" in name]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def tune(function: str, *more: str, source: str = "x.npy") -> int:
    """The command in this process."""
    return main(["tune", f"tuned_steps.py:{function}", "--input", source, *more])


def called() -> list[int]:
    return next(module.calls for name, module in sys.modules.items() if "tuned_steps" in name)


def test_the_report_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune("wide", "--sizes", "64,1,8", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [point["size"] for point in said["points"]] == [1, 8, 64]
    assert said["chosen"] in (1, 8, 64)
    assert said["unit"] == "rows"
    assert all(point["rows_per_second"] > 0 for point in said["points"])


@pytest.mark.skipif(sys.platform != "linux", reason="only there the peak of a process can be measured")
def test_a_memory_limit_ends_the_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    """512 rows need 80 MiB."""
    assert tune("wide", "--memory-limit", "32MiB") == 0
    said = capsys.readouterr().out
    assert "may need" in said and "chosen" in said
    assert max(called()) <= 256


def test_texts_are_measured_in_padded_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune("length", "--json", source="x.txt") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["unit"] == "cost"
    assert said["points"][0]["size"] == 6
    assert said["points"][-1]["rows"] > 10


def test_a_part_is_measured_with_the_threads_of_one_worker(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all threads of BLAS, on a busy machine a hundred times slower, a size would be chosen that runs
    otherwise."""
    monkeypatch.setattr("microbatch.tuning.tune.usable_cores", lambda: 3)
    limited: list[tuple[str, int]] = []

    def noting(name: str) -> Any:
        @contextmanager
        def limits(self: object, workers: int) -> Iterator[None]:
            limited.append((name, workers))
            before = len(called())
            yield
            assert len(called()) > before

        return limits

    for name in ("parallel_limits", "worker_limits"):
        monkeypatch.setattr(CpuBackend, name, noting(name))
    assert tune("wide", "--sizes", "1,8") == 0
    assert limited == [("parallel_limits", 3), ("worker_limits", 3)]
    assert "as one of 3 workers" in capsys.readouterr().out


def test_numbers_stand_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune("wide", "--sizes", "1,512") == 0
    lines = capsys.readouterr().out.splitlines()
    ends = [lines[0].index("(rows)") + len("(rows)"), lines[0].index("rows/s") + len("rows/s")]
    for line, size in ((lines[1], "1"), (lines[2], "512")):
        assert line[: ends[0]].split() == [size] and line[ends[0] - 1].isdigit()
        assert line[ends[1] - 1].isdigit()


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra [plot]")
def test_the_picture_shows_what_was_measured_predicted_and_chosen(folder: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text as text
        assert tune("wide", "--sizes", "1,2,4,8,256", "--plot", "p.svg", "--memory-limit", "64MiB") == 0
    drawn = (folder / "p.svg").read_text()
    for text in (
        "rows per second",
        "peak memory (MiB)",
        "size of a part (rows)",
        "predicted bound",
        "chosen: ",
    ):
        assert text in drawn
    assert (
        ">4<" in drawn and "memory there is" in drawn
    )  # sizes are written out, and the limit is in the picture


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra [plot]")
@pytest.mark.parametrize(("name", "start"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml")])
def test_a_picture(folder: Path, name: str, start: bytes) -> None:
    assert tune("wide", "--sizes", "1,2,4,8", "--plot", name) == 0
    assert (folder / name).read_bytes().startswith(start)


def test_without_matplotlib_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["tune", "nothing.py:f", "--input", "none.npy", "--plot", "p.png"]) == 2
    assert "pip install microbatch[plot]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--plot", "p.jpg"], "of no kind that can be drawn"),
        (["--plot", "no/p.png"], "folder of no/p.png does not exist"),
        (["--sizes", "1,two"], "--sizes is '1,two'; give numbers"),
        (["--sizes", "0"], "--sizes is 0; it must be from 1"),
        (["--write", "pyproject.toml"], "name microbatch.toml"),
        (["--backend", "cup"], "no backend is called 'cup'"),
        (["--memory-limit", "much"], "memory_limit"),
    ],
)
def test_bad_options_are_found_before_a_call(
    capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert tune("fail", *more) == 2
    err = capsys.readouterr().err
    assert said in err and "no such model" not in err


def test_an_error_of_the_function_shows_its_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert tune("fail", "--write", "microbatch.toml") == 2
    assert "no such model" in capsys.readouterr().err
    assert not (folder / "microbatch.toml").exists()


def test_an_interrupt_is_one_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert tune("stop", "--write", "microbatch.toml") == 130
    assert capsys.readouterr().err == "interrupted; nothing was written\n"
    assert not (folder / "microbatch.toml").exists()


def test_arguments_that_do_not_fit_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune("pair") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: target tuned_steps.py:pair(x, y) cannot be called with 1 array from x.npy")
    assert "Traceback" not in err


def test_sizes_above_the_file_are_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune("wide", "--sizes", "8,5000,9000", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [(point["size"], point["rows"]) for point in said["points"]] == [(8, 8), (600, 600)]


def test_the_size_is_written_and_used(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert tune("wide", "--sizes", "8,16", "--write", "microbatch.toml") == 0
    written = tomllib.loads((folder / "microbatch.toml").read_text())
    assert written == {"policy": "tokens", "max_tokens_per_ubatch": written["max_tokens_per_ubatch"]}
    capsys.readouterr()
    assert main(["config", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["max_tokens_per_ubatch"]["value"] == written["max_tokens_per_ubatch"] in (8, 16)


def test_an_old_file_keeps_its_other_lines(folder: Path) -> None:
    path = folder / "microbatch.toml"
    path.write_text('# ours\nnum_ubatches = 3  # three\npolicy = "auto"\n')
    path.chmod(0o600)
    write_config(path, {"policy": "tokens", "max_tokens_per_ubatch": 64}, RunState())
    assert path.read_text() == (
        '# ours\nnum_ubatches = 3  # three\npolicy = "tokens"\nmax_tokens_per_ubatch = 64\n'
    )
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(other.name for other in folder.glob("*microbatch.toml*")) == ["microbatch.toml"]


@pytest.mark.parametrize(
    "text", ["[tool]\nx = 1\n", 'polices = "auto"\n', 'policy = """auto\n"""\n', 'policy = "auto\n']
)
def test_a_file_of_somebody_else_stays_as_it_is(folder: Path, text: str) -> None:
    path = folder / "microbatch.toml"
    path.write_text(text)
    with pytest.raises((OutputFileError, ConfigError)):
        write_config(path, {"policy": "tokens", "max_tokens_per_ubatch": 64}, RunState())
    assert path.read_text() == text


def test_sizes_are_sorted_and_single() -> None:
    assert increasing_in_text("--sizes", "64, 8,8") == (8, 64)
    with pytest.raises(ArgumentValueError, match="--sizes is ''; give numbers, such as '8,16,32'"):
        increasing_in_text("--sizes", "")
