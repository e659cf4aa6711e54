"""What a function can reach besides the rows it is given, as it is before and after calls; and putting it
back.

Invariant: only looked at, never called. A value that a call has overwritten (a counter, a buffer that it
computes in, a field where it leaves something for itself) is put back, since the caller's own call must find
it as it was. A list or dictionary that only grew is left alone, unless the function turns out to depend on
it: adding is one operation, and somebody else may have added too. What lies deeper than `LEVELS`, in a
library's own memory, or in arrays too large to copy, is not seen or not put back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from msgspec import Struct, field

from microbatch.arrays.hidden_rows import attributes_of, is_module
from microbatch.arrays.looks import is_shaped
from microbatch.arrays.memory import contents_of, start_of
from microbatch.binding.call import Wrapped
from microbatch.proof.putting_back import saved_contents
from microbatch.proof.random_numbers import access_of
from microbatch.proof.reachable import of_compiler, reachable

LEVELS = 3
"""How deep values are looked into."""
MOST = 600
"""Values that are looked at."""
ENTRIES = 32
"""Entries of one container that are looked at."""
SEEN_WHOLE = 1 << 16
"""Bytes of an array up to which all of them are compared; of a larger one, its ends and some between."""

PLAIN = (int, float, complex, str, bytes, bool, type(None))
"""Values that are compared as they are, and hold nothing."""


CACHE = type(functools.cache(len))
"""The type of functions that `functools` caches the answers of."""


class Surroundings(Struct):
    """What was found, and what it looked like."""

    states: dict[str, Any] = field(default_factory=dict)
    """Name -> a comparable value."""
    generators: list[Any] = field(default_factory=list)
    """Random number generators."""
    iterators: list[str] = field(default_factory=list)
    """Names of iterators, which every call would use up."""
    _saved: list[Callable[[], None]] = field(default_factory=list)
    """Each puts the contents of one thing back, where they are others."""

    @classmethod
    def of(cls, function: Any, constants: Iterable[Any] = (), *, saving: bool = False) -> Surroundings:
        """What `function` can reach now, also through the arguments `constants`.

        `saving` keeps copies of what may be put back.
        """
        found, seen = cls(), set[int]()
        level = [
            (name, value) for name, value, restore in reachable(function) if found._saves(restore, saving)
        ]
        level += [(f"argument {place}", value) for place, value in enumerate(constants)]
        for _ in range(LEVELS + 1):
            deeper: list[tuple[str, Any]] = []
            for name, value in level:
                if len(seen) < MOST and (isinstance(value, PLAIN) or id(value) not in seen):
                    seen.add(id(value))
                    deeper += found._look_at(name, value, saving=saving)
            level = deeper
        return found

    def left_by(self, later: Surroundings) -> str | None:
        """The name of something that calls have overwritten or left behind by `later`; None for nothing."""
        return self.overwritten(later) or self.kept(later)

    def overwritten(self, later: Surroundings) -> str | None:
        """The name of something that `later` finds changed; None where nothing is."""
        for name, before in self.states.items():
            if name in later.states and later.states[name] != before:
                return name
        return None

    def kept(self, later: Surroundings) -> str | None:
        """The name of something new that calls have left for later calls; None where there is nothing.

        A plain value that was appended to a list is a note of the call, which nobody reads.
        """
        for name, state in later.states.items():
            appended = name.endswith("]") and name[-2].isdigit() and not is_array_state(state)
            if name not in self.states and not appended:
                return name
        return None

    def put_back(self) -> None:
        """Put everything back that was saved and has changed."""
        for restore in self._saved:
            restore()

    def _look_at(self, name: str, value: Any, *, saving: bool) -> list[tuple[str, Any]]:
        """Note a value, and return what is stored in it."""
        if of_compiler(value):
            return []
        try:
            self._note(name, value)
            self._saves(saved_contents(value) if saving else None, saving)
            return inside(name, value)
        except Exception:  # noqa: BLE001  # objects that answer to every name cannot be looked into
            self.states[name] = type(value), id(value)
            return []

    def _saves(self, restore: Callable[[], None] | None, saving: bool) -> bool:
        if saving and restore is not None:
            self._saved.append(restore)
        return True

    def _note(self, name: str, value: Any) -> None:
        if access_of(value) is not None:
            self.generators.append(value)
        elif isinstance(value, (np.generic, float, complex)):
            self.states[name] = repr(value)  # NaN does not equal itself, its text does
        elif is_shaped(value):
            self.states[name] = _array_state(value)
        elif isinstance(value, PLAIN):
            self.states[name] = value
        elif isinstance(value, CACHE):
            self.states[name] = value.cache_info().currsize
        elif is_module(value):
            self.states[name] = tuple(map(_array_state, value.buffers()))
        elif hasattr(type(value), "__next__") and not callable(value):
            # deeper inside of objects iterators number things; a file that is written is not used up
            if name.count(".") < 2 and getattr(value, "readable", _yes)():
                self.iterators.append(name)
        else:
            self.states[name] = type(value), id(value)


def inside(name: str, value: Any) -> list[tuple[str, Any]]:
    """What is stored in `value`; nothing for arrays and plain values."""
    if isinstance(value, (*PLAIN, ModuleType, Wrapped)) or is_shaped(value):
        return []
    if is_module(value):
        return _of_module(name, value)
    if isinstance(value, type):
        return [(f"{name}.{key}", kept) for key, kept in vars(value).items() if not callable(kept)]
    if isinstance(value, FunctionType) or hasattr(value, "__func__"):
        return [(f"{name}: {inner}", kept) for inner, kept, _ in reachable(value)]
    if isinstance(value, dict):
        return [(f"{name}[{key!r}]", kept) for key, kept in list(value.items())[:ENTRIES]]
    if isinstance(value, (list, tuple)):
        return [(f"{name}[{place}]", kept) for place, kept in enumerate(value[:ENTRIES])]
    own = [(name + path, kept) for path, kept in list(attributes_of(value))[:ENTRIES]]
    return own + [(f"{name}.{key}", kept) for key, kept in vars(type(value)).items() if is_shaped(kept)]


def _of_module(name: str, module: Any) -> list[tuple[str, Any]]:
    """The attributes of a framework's module and of those in it, without what the framework keeps there."""
    inner = module.named_modules() if hasattr(module, "named_modules") else [("", module)]
    return [
        (f"{name}.{path}.{key}" if path else f"{name}.{key}", kept)
        for path, part in inner
        for key, kept in vars(part).items()
        if not key.startswith("_") and key != "training" and not is_module(kept)
    ]


def is_array_state(state: Any) -> bool:
    """Whether a state is that of an array."""
    return isinstance(state, tuple) and state[0] == "array"


def _array_state(array: Any) -> tuple[Any, ...]:
    """Where an array is, and how often or with what it was written."""
    if not isinstance(array, np.ndarray) or array.nbytes <= SEEN_WHOLE:
        return "array", start_of(array), contents_of(array, SEEN_WHOLE)
    if array.dtype.hasobject:
        return "array", start_of(array)
    flat, some = array.reshape(-1) if array.flags.c_contiguous else array[:1].reshape(-1), 1024
    between = flat[:: max(1, flat.size // some)]
    return "array", start_of(array), flat[:some].tobytes(), between.tobytes(), flat[-some:].tobytes()


def _yes() -> bool:
    return True
