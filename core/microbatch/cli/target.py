"""TARGET on the command line: `file.py:function` or `package.module:function`.

Invariant: what leaves here can be called; every way to fail names the part of the target that is wrong. A
file's folder, or the current one for a module, goes first on `sys.path`, as `python file.py` and `python -m`
do it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from microbatch.binding.call import Call, check_runnable, parameter_names
from microbatch.binding.rules import Layout
from microbatch.cli.run_state import RunState
from microbatch.cli.streams import say
from microbatch.errors import ArgumentTypeError, ArgumentValueError, UnknownNameError, near_match
from microbatch.files.inputs import Inputs, read_inputs
from microbatch.options.fields import UBatchConfig
from microbatch.options.raised import name_of, text_of, traceback_of
from microbatch.wrapper import UBatchWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a target names."""

    runnable: Callable[..., Any]
    """The function or module object; of a wrapper, what it wraps."""
    config: UBatchConfig | None = None
    """Options of the wrapper, if it was one."""
    layout: Layout | None = None
    """Layout of the wrapper, if it was one."""
    parameters: tuple[str, ...] = ()
    """Names of the positional parameters."""

    def call(self, inputs: Inputs) -> Call:
        """The call on the batch of a file; a layout of the target goes before that of the file."""
        layout = self.layout or inputs.layout
        return Call(function=self.runnable, args=inputs.args, kwargs=inputs.kwargs, layout=layout)


def load_call(text: str, path: Path, column: str | None, state: RunState) -> tuple[Target, Inputs]:
    """The target that `text` names, and the arguments for it from the file `path`; `state` is told of both.

    Raises InputFileError or ArgumentValueError for a file that cannot be read, what `load_target` raises, and
    ArgumentValueError where the arguments are not those that the target takes.
    """
    state.doing(f"reading {path}")
    inputs = read_inputs(path, column=column)
    state.reads(inputs.source)
    state.doing(f"importing {text}")
    target = load_target(text)
    state.doing(f"running {text}")
    inputs = inputs.bound(target.parameters)
    _check_call(text, target.runnable, inputs)
    return target, inputs


def tell_if_changed(inputs: Inputs, what: str) -> None:
    """Warn where somebody wrote to the input while it was read: `what` may be of both."""
    if inputs.source.changed:
        say(
            f"warning: {inputs.path} was changed while it was read, so {what} may be of rows before and after"
            " that; run again when nobody writes to it"
        )


def load_target(text: str) -> Target:
    """Import what `text` names.

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
    if isinstance(found, UBatchWrapper):
        names = parameter_names(found.unwrap())
        own = found.microbatch
        return Target(runnable=found.unwrap(), config=own.options, layout=own.layout, parameters=names)
    try:
        check_runnable(found)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"target {text} cannot be run: {error}") from None
    return Target(runnable=found, parameters=parameter_names(found))


def _check_call(text: str, runnable: Callable[..., Any], inputs: Inputs) -> None:
    """Raise ArgumentValueError where the arguments from a file are not those that the target takes."""
    try:
        signature = inspect.signature(runnable)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*inputs.args, **inputs.kwargs)
    except TypeError as error:
        count = len(inputs.args) + len(inputs.kwargs)
        held = f"{count} array{'s' if count > 1 else ''}" if inputs.layout is None else "one list of texts"
        raise ArgumentValueError(
            f"target {text}{signature} cannot be called with {held} from {inputs.path}: {error}; several "
            "arrays go into an .npz, by the names of the parameters"
        ) from None


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
    """Says which line of the user's code failed, and how."""
    if isinstance(error, SyntaxError) and error.lineno is not None:
        text, where = error.msg, f"{error.filename}, line {error.lineno}: {(error.text or '').strip()}"
    else:
        text, where = text_of(error), _users_line(error)
    return ArgumentValueError(f"{what} cannot be imported: {name_of(error)}: {text} ({where})")


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
