"""Variables that look like ours and are none are told once, each with the one that was meant."""

from __future__ import annotations

import os
import re
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from microbatch.cli.app import main
from microbatch.options import unknown_variables as module
from microbatch.options.fields import FIELDS
from microbatch.options.sources import resolve
from microbatch.options.unknown_variables import NO_OPTIONS, unknown_variables, variable

PACKAGES = ("microbatch", "microbatch_backends", "microbatch_policies")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository without options, an environment without options, and nothing told yet."""
    for name in [name for name in os.environ if name.startswith("MICROBATCH_")]:
        monkeypatch.delenv(name)
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    module._warn_once.cache_clear()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MICROBATCH_POLCY", "did you mean MICROBATCH_POLICY?"),
        ("MICROBATCH_BACKENDS", "did you mean MICROBATCH_BACKEND?"),
        ("MICROBATCH_NUM_UBATCH", "did you mean MICROBATCH_NUM_UBATCHES?"),
        ("MICROBATCH_PLUGIN", "did you mean MICROBATCH_PLUGINS?"),
        ("MICROBATCH_COLOUR", "`microbatch config` lists those that are"),
        ("MICROBATCH_", "`microbatch config` lists those that are"),
    ],
)
def test_each_has_a_sentence(name: str, hint: str) -> None:
    said = unknown_variables([name, "PATH", "BACKENDS"])
    assert said == [f"environment variable {name} is none of microbatch's and is not read; {hint}"]


def test_ours_are_known() -> None:
    assert unknown_variables([*map(variable, FIELDS), *(f"MICROBATCH_{name}" for name in NO_OPTIONS)]) == []


def test_every_variable_that_the_code_names_is_known() -> None:
    """Those that set no option are read in several rooms."""
    named: set[str] = set()
    for package in PACKAGES:
        for path in Path(str(import_module(package).__file__)).parent.rglob("*.py"):
            named |= set(re.findall(r"\bMICROBATCH_[A-Z][A-Z_]*", path.read_text()))
    assert named and unknown_variables(named) == []


def test_it_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wrappers are built, and whatever else changes the filters of warnings."""
    monkeypatch.setenv("MICROBATCH_POLCY", "fixed")
    with pytest.warns(UserWarning, match="MICROBATCH_POLCY is none of microbatch's.*MICROBATCH_POLICY"):
        resolve()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resolve()


@pytest.mark.parametrize("words", [["config"], ["policies"], ["--version"]], ids=" ".join)
def test_every_command_tells_it_once(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROBATCH_POLCY", "fixed")
    assert main(words) == 0
    said = capsys.readouterr().err
    assert said.startswith("warning: environment variable MICROBATCH_POLCY ") and said.count("\n") == 1
