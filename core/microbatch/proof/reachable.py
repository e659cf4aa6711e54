"""What a function visibly refers to: closures, defaults, globals that its code names, its own object.

Invariant: nothing is called. Each comes with a way to bind the name to the same value again, where the name
is one that calls can bind anew (`nonlocal`, `global`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from microbatch.arrays.hidden_rows import is_module

COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch")
"""Where the code of torch's compiler is. What it keeps for a function that it has compiled says nothing of
the function, and looking at it took 60 ms of a first call."""

Reached = tuple[str, Any, Callable[[], None] | None]
"""Name, value, and what binds the name to the value again."""


def reachable(function: Any) -> Iterator[Reached]:
    """All that `function` refers to by a name of its own."""
    while isinstance(function, functools.partial):
        yield from ((f"argument {place}", value, None) for place, value in enumerate(function.args))
        yield from ((name, value, None) for name, value in function.keywords.items())
        function = function.func
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        yield "self", owner, None
    plain = getattr(function, "__func__", function)
    if isinstance(plain, FunctionType):
        yield from _referred(plain)
    elif not isinstance(function, type) and callable(function):
        yield "self", function, None
        called = vars(type(function)).get("__call__")
        if isinstance(called, FunctionType):
            yield from _referred(called)


def _referred(function: FunctionType) -> Iterator[Reached]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if not of_compiler(value):
            yield name, value, _cell_again(cell, value)
    if str(function.__globals__.get("__name__")).startswith(COMPILERS):
        return
    yield from ((f"default {place}", value, None) for place, value in enumerate(function.__defaults__ or ()))
    yield from ((name, value, None) for name, value in (function.__kwdefaults__ or {}).items())
    names = function.__globals__
    for name in dict.fromkeys(names_in(function.__code__)):
        if name in names:
            yield name, names[name], functools.partial(_global_again, names, name, names[name])


def of_compiler(value: Any) -> bool:
    """Whether it is something that a compiler keeps for itself, and not a module that it has compiled."""
    return type(value).__module__.startswith(COMPILERS) and not is_module(value)


def names_used(function: Any) -> frozenset[str]:
    """The names that the code of `function`, and of what it visibly refers to, uses.

    Not those in code of torch itself: what `torch.compile` returns refers to half of its compiler.
    """
    found = [value for _, value, _ in reachable(function)]
    while isinstance(function, functools.partial):
        function = function.func
    found.append(function)
    plain = [getattr(value, "__func__", value) for value in found]
    functions = [value for value in plain if isinstance(value, FunctionType)]
    codes = [value.__code__ for value in functions if not _is_torchs(value)]
    own = {value.__name__ for value in functions}  # what it refers to may have another name there
    return frozenset(own.union(*map(names_in, codes)))


def _is_torchs(function: FunctionType) -> bool:
    return str(function.__module__).partition(".")[0] == "torch"


def names_in(code: CodeType) -> Iterator[str]:
    """The names that code uses, that of functions inside of it included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def _cell_again(cell: CellType, value: Any) -> Callable[[], None]:
    def bind() -> None:
        if cell.cell_contents is not value:
            cell.cell_contents = value

    return bind


def _global_again(names: dict[str, Any], name: str, value: Any) -> None:
    if names.get(name) is not value:
        names[name] = value
