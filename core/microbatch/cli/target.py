"""TARGET on the command line: `file.py:function` or `package.module:function`.

Invariant: what leaves here can be called; every way to fail names the part of the target that is wrong. A
file's folder, or the current one for a module, goes first on `sys.path`, as `python file.py` and `python -m`
do it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import msgspec

from microbatch.binding.call import Call
from microbatch.cli.run_state import RunState
from microbatch.cli.streams import say
from microbatch.errors import ArgumentTypeError, ArgumentValueError, UnknownNameError, near_match
from microbatch.files.inputs import Inputs
from microbatch.files.protocols import RowSource
from microbatch.files.source import Origin
from microbatch.files.sources import Wanted, open_rows
from microbatch.jobs.block_sizes import BYTES, EVERYTHING
from microbatch.jobs.conversion import Conversion
from microbatch.jobs.job import text_if_changed
from microbatch.jobs.targets import Target, check_arguments, target_of
from microbatch.options.raised import name_of, text_of, traceback_of

NOTHING: Mapping[str, str] = MappingProxyType({})
"""Arguments of a class that takes none."""


def load_source(
    text: str, wanted: Wanted, state: RunState, arguments: Mapping[str, str]
) -> tuple[Target, RowSource]:
    """The target that `text` names, and the rows for it; `state` is told of both.

    Raises InputFileError or ArgumentValueError for a file that cannot be read, what `load_target` raises, and
    ArgumentValueError where the arguments are not those that the target takes.
    """
    state.doing(f"reading {wanted.places[0]}")
    source = open_rows(wanted)
    state.reads(source.source)
    state.doing(f"importing {text}")
    target = load_target(text, arguments)
    state.doing(f"reading {wanted.places[0]}")
    source.prepare(target.parameters)
    state.doing(f"running {text}")
    return target, source


def load_call(
    text: str, wanted: Wanted, state: RunState, arguments: Mapping[str, str]
) -> tuple[Target, Inputs]:
    """As `load_source`, of rows that fit into memory: all, or the first of a larger input."""
    target, source = load_source(text, wanted, state, arguments)
    inputs = source.take(EVERYTHING, None if source.whole else BYTES).bound(target.parameters)
    check_arguments(target, inputs)
    backend = target.backend or "auto"
    return target, Conversion(backend).of(inputs)


def call_of(target: Target, inputs: Inputs) -> Call:
    """The call on the batch of a file; a layout of the target goes before that of the file."""
    layout = target.layout or inputs.layout
    return Call(function=target.runnable, args=inputs.args, kwargs=inputs.kwargs, layout=layout)


def tell_if_changed(source: Origin, what: str) -> None:
    """Warn where somebody wrote to the input while it was read: `what` may be of both."""
    text = text_if_changed(source, what)
    if text:
        say(f"warning: {text}")


def load_target(text: str, arguments: Mapping[str, str] = NOTHING) -> Target:
    """Import what `text` names; a class is made once, with `arguments`.

    Raises ArgumentValueError for a target that is not spelt right or whose module fails to import (with the
    line of the user's file), UnknownNameError for a name the module has not, ArgumentTypeError for what is no
    function.
    """
    place, _, path = text.rpartition(":")
    if not place or not path:
        hint = "write file.py:function or package.module:function"
        raise ArgumentValueError(f"target {text!r} names no function; {hint}")
    found: Any = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    for name in path.split("."):
        found = _attribute(found, name, text)
    if isinstance(found, type):
        found = _made(text, found, arguments)
    elif arguments:
        raise ArgumentValueError(f"target {text} is no class, which --arg is for; leave --arg out")
    try:
        return target_of(found, text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"target {text} cannot be run: {error}") from None


def _made(text: str, kind: type, arguments: Mapping[str, str]) -> Any:
    """An instance; values that are JSON (numbers, true, lists) are that, others texts."""
    if not any("__call__" in vars(base) for base in kind.__mro__):
        raise ArgumentTypeError(
            f"target {text} cannot be run: its objects cannot be called; give it __call__"
        )
    try:
        return kind(**{name: _value(value) for name, value in arguments.items()})
    except Exception as error:
        hint = "" if arguments else "; give its arguments with --arg key=value"
        raise ArgumentValueError(f"{_failed_text(text, 'made', error)}{hint}") from error


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _attribute(owner: Any, name: str, text: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        known = [other for other in dir(owner) if other[0] != "_" and callable(getattr(owner, other))]
        where = owner.__name__ if isinstance(owner, (ModuleType, type)) else type(owner).__name__
        hint = near_match(name, known)
        if "did you mean" not in hint:  # all names of a module would be no help
            hint = " check the name."
        raise UnknownNameError(f"target {text}: {where} has no {name!r};{hint}") from None


def _load_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):
        problem = "is no regular file" if os.path.lexists(path) else "does not exist"
        raise ArgumentValueError(f"target file {path} {problem}; name a Python file")
    place = os.path.realpath(path)
    _put_first(os.path.dirname(place))
    name = path.stem if path.stem not in sys.modules else f"microbatch_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, place)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _failed(str(path), error) from error
    return module


def _load_module(name: str) -> ModuleType:
    try:
        _put_first(os.getcwd())
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            remedy = "name an installed one, or a file as path/to/file.py"
            raise ArgumentValueError(f"target module {error.name!r} is not found; {remedy}") from None
        raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error


def _put_first(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _failed(what: str, error: Exception) -> ArgumentValueError:
    return ArgumentValueError(_failed_text(what, "imported", error))


def _failed_text(what: str, done: str, error: Exception) -> str:
    """Says which line of the user's code failed, and how."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        text, where = error.msg, f"{error.filename}, line {error.lineno}: {(error.text or '').strip()}"
    else:
        text, where = text_of(error), _users_line(error)
    return f"{what} cannot be {done}: {name_of(error)}: {text} ({where})"


def _users_line(error: Exception) -> str:
    """The first line of the traceback that belongs neither to the import system nor to this file."""
    for frame in traceback.extract_tb(traceback_of(error)):
        if (
            not frame.filename.startswith("<")
            and "importlib" not in frame.filename
            and frame.filename != __file__
        ):
            return f"{frame.filename}, line {frame.lineno}: {frame.line}"
    return "while importing"
