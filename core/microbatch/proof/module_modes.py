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
    return callable(getattr(kind, "buffers", None)) and isinstance(getattr(candidate, "training", None), bool)


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


class StateWatch:
    """Watches the modules a function refers to, over its first calls.

    A step of a module in training mode runs whole once: if that changed buffers (running statistics), the module
    mixes rows and is never cut while it trains; else it is cut and run one part after another. A module in
    evaluation mode whose buffers changed keeps state, and its parts run one after another; so does the first step
    of one that has buffers, since side by side its parts would have lost writes by the time that this is seen.
    """

    __slots__ = ("_calls_left", "_changed", "_modules", "_seen", "_trained_whole")

    def __init__(self, function: Any, calls: int = 3) -> None:
        self._modules = modules_of(function)
        self._calls_left = calls if self._modules else 0
        self._changed = False
        self._seen = False
        self._trained_whole = False

    @property
    def found(self) -> bool:
        """Whether the function refers to any module."""
        return bool(self._modules)

    @property
    def watching(self) -> bool:
        """Whether the next step is to be compared before and after."""
        return self._calls_left > 0

    def modes(self) -> tuple[bool, ...]:
        """Whether each module is in training mode."""
        return tuple([bool(module.training) for module in self._modules])

    def before(self) -> tuple[int, ...] | None:
        """Snapshot to hand to `after`; None when there is nothing left to watch."""
        return buffer_versions(self._modules) if self._calls_left > 0 else None

    def after(self, snapshot: tuple[int, ...] | None) -> None:
        """Compare with the snapshot taken before the call."""
        if snapshot is None:
            return
        self._calls_left -= 1
        self._seen = True
        self._trained_whole = self._trained_whole or self._training()
        self._changed = self._changed or buffer_versions(self._modules) != snapshot

    def why_whole(self) -> str:
        """The reason why the next step must not be cut, or an empty string."""
        if not self._modules or not self._training():
            return ""
        if not self._trained_whole:
            self._calls_left = max(self._calls_left, 1)
            return "first step in training mode, run whole to see whether buffers change"
        return "in training mode its buffers change: it mixes rows" if self._changed else ""

    def why_sequential(self) -> str:
        """The reason why ubatches must not overlap, or an empty string."""
        if not self._modules:
            return ""
        if self._training():
            return "a module is in training mode"
        if self._changed:
            return "its buffers change from call to call"
        if not self._seen and buffer_versions(self._modules):
            return "first step of a module with buffers, to see whether they change"
        return ""

    def _training(self) -> bool:
        return any(module.training for module in self._modules)
