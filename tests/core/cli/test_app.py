"""How a command ends: exit codes, one line for an expected error, a traceback on demand."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from microbatch.cli.app import COMMANDS, main
from microbatch.errors import ConfigError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROBATCH_DEBUG", raising=False)


def test_an_expected_error_is_one_line_and_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROBATCH_NUM_UBATCHES", "two\n\x1b[31mthree")
    assert main(["config"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: environment MICROBATCH_NUM_UBATCHES: num_ubatches is 'two")
    assert captured.err.count("\n") == 1
    assert "\x1b" not in captured.err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_NUM_UBATCHES", "two")
    monkeypatch.setenv("MICROBATCH_DEBUG", "1")
    with pytest.raises(ConfigError):
        main(["config"])


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"microbatch {importlib.metadata.version('microbatch')}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert "..." not in shown.partition("Commands:")[2], "a summary that does not fit 80 columns"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: microbatch {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nope"], ["backends", "--nope"], ["backends", "extra"]], ids=" ".join)
def test_a_wrong_command_line_is_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Usage: microbatch" in capsys.readouterr().err
