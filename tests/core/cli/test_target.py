"""TARGET: every spelling loads, every mistake names the part that is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from microbatch.cli.target import load_target
from microbatch.errors import ArgumentTypeError, ArgumentValueError, MicrobatchError, UnknownNameError

SOURCE = """
import microbatch

class Model:
    def step(self, ids, mask):
        return ids

    def __call__(self, ids):
        return ids

class Empty:
    pass

model = Model()
wrapped = microbatch.wrap(model.step, num_ubatches=3)
number = 3

def double(x):
    return 2 * x
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Each test imports afresh, from a folder of its own."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one of each."""
    path = tmp_path / "steps_of_a_user.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("place", ["file", "module"])
@pytest.mark.parametrize(
    ("name", "parameters"), [("double", ("x",)), ("model.step", ("ids", "mask")), ("model", ("ids",))]
)
def test_spellings(file: Path, place: str, name: str, parameters: tuple[str, ...]) -> None:
    """A file or a module; a function, a method, an object that can be called."""
    target = load_target(f"{file if place == 'file' else file.stem}:{name}")
    assert callable(target.runnable)
    assert target.parameters == parameters


def test_a_wrapper_gives_its_function_and_options(file: Path) -> None:
    """Options on the command line then go before those it was built with."""
    target = load_target(f"{file}:wrapped")
    assert target.parameters == ("ids", "mask")
    assert target.config is not None
    assert target.config.num_ubatches == 3


def test_a_file_named_like_a_module_does_not_replace_it(tmp_path: Path) -> None:
    """`json.py` of a user is loaded, and `json` stays what it is."""
    import json

    (tmp_path / "json.py").write_text("def f(x): return x\n")
    load_target(f"{tmp_path / 'json.py'}:f")
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("target", "kind", "text"),
    [
        ("double", ArgumentValueError, "names no function; write file.py:function"),
        ("steps_of_a_user:", ArgumentValueError, "names no function"),
        ("no_such_file.py:f", ArgumentValueError, "target file no_such_file.py does not exist"),
        ("no_such_module:f", ArgumentValueError, "target module 'no_such_module' is not found"),
        ("steps_of_a_user:duoble", UnknownNameError, "has no 'duoble'; did you mean 'double'"),
        ("steps_of_a_user:model.stop", UnknownNameError, "Model has no 'stop'; did you mean 'step'"),
        (
            "steps_of_a_user:number",
            ArgumentTypeError,
            "cannot be run: an object of type int cannot be called",
        ),
        ("steps_of_a_user:Empty", ArgumentTypeError, "cannot be run: its objects cannot be called"),
    ],
)
def test_mistakes(file: Path, target: str, kind: type[MicrobatchError], text: str) -> None:
    """The text has the part that is wrong, and what to do."""
    with pytest.raises(kind, match=text):
        load_target(target)


@pytest.mark.parametrize("place", ["{file}", "broken_steps"])
@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x = 1\nimport no_such_thing\n", "No module named 'no_such_thing' .*line 2: import no_such_thing"),
        ("def f(x:\n", r"SyntaxError: .*line 1: def f\(x:"),
        ("a = 1\nb = 2\n1 / 0\n", "ZeroDivisionError: .*line 3: 1 / 0"),
    ],
)
def test_errors_of_the_users_file_name_its_line(tmp_path: Path, place: str, source: str, text: str) -> None:
    """As a file and as a module."""
    path = tmp_path / "broken_steps.py"
    path.write_text(source)
    with pytest.raises(ArgumentValueError, match=text):
        load_target(place.format(file=path) + ":f")
