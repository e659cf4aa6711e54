"""`microbatch new` writes a package that is a plugin as it stands; `tox -e third-party` installs two and runs
their suites."""

from __future__ import annotations

import ast
import importlib
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.cli.app import main
from microbatch.cli.new import named
from microbatch.loading.plugins import Plugins

MODULES = {
    "policy": ("microbatch_half_life.py",),
    "backend": ("microbatch_half_life.py", "microbatch_half_life_device.py"),
}
KINDS = tuple(MODULES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_name_the_plugin_and_nothing_else(kind: str, tmp_path: Path) -> None:
    assert main(["new", kind, "half-life", "--to", str(tmp_path)]) == 0
    folder = tmp_path / "microbatch-half-life"
    names = {"README.md", *MODULES[kind], "pyproject.toml", "test_half_life.py"}
    assert {file.name for file in folder.iterdir()} == names
    for file in folder.iterdir():
        assert "sample" not in file.read_text().lower()
        if file.suffix == ".py":
            ast.parse(file.read_text())
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["microbatch"] == {"half-life": "microbatch_half_life"}
    assert tuple(project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]) == MODULES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_used(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"drawn-{kind}"
    assert main(["new", kind, name, "--to", str(tmp_path)]) == 0
    monkeypatch.syspath_prepend(tmp_path / f"microbatch-{name}")
    module: Any = importlib.import_module(f"microbatch_drawn_{kind}")
    options = {"policy": {"policy": name}, "backend": {"backend": name, "policy": "fixed", "num_ubatches": 5}}
    x = np.arange(300.0)
    with microbatch.wrap(lambda rows: rows * 2, plugins=Plugins(extra=(module,)), **options[kind]) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2)
        assert wrapped.last_report is not None and wrapped.last_report.num_ubatches == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["policy", "auto"], "a policy called 'auto' already"),
        (["backend", "torch-cpu"], "a backend called 'torch-cpu' already"),
        (["policy", "Half"], "'Half' can be no name"),
        (["policy", "class"], "'class' can be no name"),
        (["policy", "a--b"], "'a--b' can be no name"),
        (["policy", "../a"], "'../a' can be no name"),
        (["engine", "a"], "engine"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *words, "--to", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_that_is_there_is_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "microbatch-tin").mkdir()
    assert main(["new", "backend", "tin", "--to", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert main(["new", "backend", "tin", "--to", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert not list((tmp_path / "microbatch-tin").iterdir()) and (tmp_path / "file").read_text() == "mine"


def test_a_name_is_put_in_as_each_thing_needs_it() -> None:
    text = "microbatch_sample microbatch-sample test_sample.py Sample sample"
    assert named(text, "half-life") == (
        "microbatch_half_life microbatch-half-life test_half_life.py HalfLife half-life"
    )
