"""Whether two calls of a function may overlap, as far as its looks tell.

Invariant: errs towards "no". A module in training mode updates running statistics and draws random numbers, so
its parts must not run side by side; one whose buffers change during a call keeps state. Modules are found by
duck type (`training` and `buffers`), since core imports no framework: the function itself, its `__self__`, a
partial's function, closure cells, defaults, and the globals its code names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any


def why_not_parallel(function: Any) -> str:
    """The reason why calls must not overlap, or an empty string."""
    for module in modules_of(function):
        if module.training is True:
            return f"{type(module).__name__} is in training mode"
    return ""


def modules_of(function: Any) -> tuple[Any, ...]:
    """The stateful modules that `function` is or visibly refers to."""
    found: dict[int, Any] = {}
    for candidate in _reachable(function):
        if _is_module(candidate):
            found.setdefault(id(candidate), candidate)
    return tuple(found.values())


def buffer_versions(modules: tuple[Any, ...]) -> tuple[int, ...]:
    """Write counters of all buffers; two unequal values mean that a call changed state."""
    return tuple(_version(buffer) for module in modules for buffer in module.buffers())


def _version(buffer: Any) -> int:
    try:
        return int(buffer._version)
    except (AttributeError, RuntimeError):  # inference tensors keep no counter
        return 0


def _is_module(candidate: Any) -> bool:
    if isinstance(candidate, type):
        return False
    kind = type(candidate)
    return callable(getattr(kind, "buffers", None)) and isinstance(
        getattr(candidate, "training", None), bool
    )


def _reachable(function: Any) -> Iterator[Any]:
    yield function
    while isinstance(function, functools.partial):
        yield from function.args
        yield from function.keywords.values()
        function = function.func
        yield function
    owner = getattr(function, "__self__", None)
    if owner is not None:
        yield owner
    plain = getattr(function, "__func__", function)
    if isinstance(plain, FunctionType):
        yield from _referred(plain)


def _referred(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield from function.__defaults__ or ()
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
