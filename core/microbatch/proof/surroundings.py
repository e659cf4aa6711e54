"""What a function can reach besides its arguments: closures, defaults, globals that it names, its own object.

Invariant: only looked at, never called or changed. A value that another call has overwritten shows a function
whose calls must not overlap: a buffer that it computes in, a field where it leaves something for itself. An
entry that was only added (a list of results, a cache) does not, since adding is one operation. What lies
deeper than `LEVELS`, or in a library's own memory, is not seen.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from microbatch.arrays.hidden_rows import attributes_of, is_module
from microbatch.arrays.looks import is_array
from microbatch.arrays.memory import start_of, version_of
from microbatch.binding.call import Wrapped
from microbatch.proof.random_numbers import access_of

LEVELS = 3
"""How deep values are looked into."""
MOST = 400
"""Values that are looked at."""
ENTRIES = 32
"""Entries of one container that are looked at."""
SEEN_WHOLE = 1 << 16
"""Bytes of an array up to which all of them are compared; of a larger one, its ends and some between."""

_PLAIN = (int, float, complex, str, bytes, bool, type(None))


@dataclass(slots=True)
class Surroundings:
    """What was found, and what it looked like."""

    states: dict[str, Any] = field(default_factory=dict)
    """Name -> a comparable value."""
    generators: list[Any] = field(default_factory=list)
    """Random number generators."""

    @classmethod
    def of(cls, function: Any) -> Surroundings:
        """What `function` can reach now."""
        found = cls()
        seen: set[int] = set()
        level = list(reachable(function))
        for _ in range(LEVELS + 1):
            deeper: list[tuple[str, Any]] = []
            for name, value in level:
                if len(seen) < MOST and (isinstance(value, _PLAIN) or id(value) not in seen):
                    seen.add(id(value))
                    found._note(name, value)
                    deeper += _inside(name, value)
            level = deeper
        return found

    def overwritten(self, later: Surroundings) -> str | None:
        """The name of something that `later` finds changed; None where nothing is."""
        for name, before in self.states.items():
            if name in later.states and later.states[name] != before:
                return name
        return None

    def _note(self, name: str, value: Any) -> None:
        if access_of(value) is not None:
            self.generators.append(value)
        elif isinstance(value, (np.generic, float, complex)):
            self.states[name] = repr(value)  # NaN does not equal itself, its text does
        elif is_array(value):
            self.states[name] = _array_state(value)
        elif isinstance(value, _PLAIN):
            self.states[name] = value
        elif is_module(value):
            self.states[name] = tuple(version_of(buffer) for buffer in value.buffers())
        else:
            self.states[name] = type(value), id(value)


def reachable(function: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of what `function` visibly refers to."""
    while isinstance(function, functools.partial):
        yield from ((f"argument {place}", value) for place, value in enumerate(function.args))
        yield from function.keywords.items()
        function = function.func
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        yield "self", owner
    plain = getattr(function, "__func__", function)
    if isinstance(plain, FunctionType):
        yield from _referred(plain)
    elif not isinstance(function, type) and callable(function):
        yield "self", function
        called = vars(type(function)).get("__call__")
        if isinstance(called, FunctionType):
            yield from _referred(called)


def _referred(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # not assigned yet
            yield name, cell.cell_contents
    yield from ((f"default {place}", value) for place, value in enumerate(function.__defaults__ or ()))
    yield from (function.__kwdefaults__ or {}).items()
    for name in dict.fromkeys(_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _inside(name: str, value: Any) -> list[tuple[str, Any]]:
    """What is stored in `value`; nothing for arrays, modules and plain values."""
    if isinstance(value, (*_PLAIN, ModuleType, Wrapped)) or is_array(value) or is_module(value):
        return []
    if isinstance(value, type):
        return [(f"{name}.{key}", kept) for key, kept in vars(value).items() if is_array(kept)]
    if isinstance(value, FunctionType) or hasattr(value, "__func__"):
        return [(f"{name}: {inner}", kept) for inner, kept in reachable(value)]
    if isinstance(value, dict):
        return [(f"{name}[{key!r}]", kept) for key, kept in list(value.items())[:ENTRIES]]
    if isinstance(value, (list, tuple)):
        return [(f"{name}[{place}]", kept) for place, kept in enumerate(value[:ENTRIES])]
    return [(name + path, kept) for path, kept in list(attributes_of(value))[:ENTRIES]]


def _array_state(array: Any) -> Any:
    """Where an array is, and how often or with what it was written."""
    if not isinstance(array, np.ndarray):
        return start_of(array), version_of(array)
    if array.dtype.hasobject:
        return start_of(array)
    flat = array.reshape(-1) if array.flags.c_contiguous else array[:1].reshape(-1)
    if flat.nbytes <= SEEN_WHOLE:
        return start_of(array), flat.tobytes()
    some = 1024
    between = flat[:: max(1, flat.size // some)]
    return start_of(array), flat[:some].tobytes(), between.tobytes(), flat[-some:].tobytes()
