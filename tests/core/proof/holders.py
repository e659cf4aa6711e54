"""Ways to hide an array with one entry a row from who looks for rows, each with a way to get at it.

Invariant: a holder is made from the array, and its getter finds that array in it and nothing else.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Plain:
    """Has attributes."""

    def __init__(self, y: Any) -> None:
        self.y = y


class Slots:
    """Has slots and no dictionary."""

    __slots__ = ("y",)

    def __init__(self, y: Any) -> None:
        self.y = y


class Private:
    """Shows its attribute as a property only."""

    def __init__(self, y: Any) -> None:
        self._kept = y

    @property
    def y(self) -> Any:
        """What it was made from."""
        return self._kept


class Frame:
    """Looks like a table: a length, columns by name, rows by place."""

    def __init__(self, y: Any) -> None:
        self._columns = {"y": y}

    def __len__(self) -> int:
        return len(self._columns["y"])

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]


class Callback:
    """Gives its array when called."""

    def __init__(self, y: Any) -> None:
        self._kept = y

    def __call__(self) -> Any:
        return self._kept


class Mapped(Mapping[str, Any]):
    """A mapping of its own type."""

    def __init__(self, y: Any) -> None:
        self._kept = {"y": y}

    def __getitem__(self, key: str) -> Any:
        return self._kept[key]

    def __iter__(self) -> Any:
        return iter(self._kept)

    def __len__(self) -> int:
        return 1


class Dict(dict):  # type: ignore[type-arg]
    """A dict of another type."""


class List(list):  # type: ignore[type-arg]
    """A list of another type."""


class Array(np.ndarray):
    """A subclass of NumPy's array, with one more array as an attribute."""

    y: Any


@dataclasses.dataclass
class Data:
    """A dataclass."""

    y: Any
    name: str = "data"


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen dataclass with slots."""

    y: Any


class Named(NamedTuple):
    """A named tuple."""

    y: Any
    scale: float = 2.0


def of_enum(y: Any) -> Any:
    """A member of an enumeration, whose value holds the array."""
    return enum.Enum("Kind", {"ONLY": Plain(y)}).ONLY  # type: ignore[attr-defined]


def attached(y: Any) -> Any:
    """An array of one entry that has the other as an attribute."""
    made = np.ones(1).view(Array)
    made.y = y
    return made


class Weak:
    """Knows its array only through a dictionary of weak values, and keeps it alive elsewhere."""

    def __init__(self, y: Any) -> None:
        kept = Plain(y)
        self._known = weakref.WeakValueDictionary({"y": kept})
        weakref.finalize(self, kept.__init__, None)  # type: ignore[misc]  # holds `kept` while this one lives

    @property
    def y(self) -> Any:
        """What it was made from."""
        return self._known["y"].y


def by_attribute(holder: Any) -> Any:
    """The array."""
    return holder.y


def by_key(holder: Any) -> Any:
    """The array."""
    return holder["y"]


Holder = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]
HOLDERS: tuple[Holder, ...] = (
    ("a plain object", Plain, by_attribute),
    ("a class with slots", Slots, by_attribute),
    ("a namespace", lambda y: types.SimpleNamespace(y=y), by_attribute),
    ("a dataclass", Data, by_attribute),
    ("a frozen dataclass with slots", Frozen, by_attribute),
    ("a dataclass with a list", lambda y: Data(y[:, 0].tolist()), lambda b: np.array(b.y)[:, None]),
    ("an object with a list", lambda y: Plain(y[:, 0].tolist()), lambda b: np.array(b.y)[:, None]),
    ("an object with a tuple", lambda y: Plain(tuple(y[:, 0].tolist())), lambda b: np.array(b.y)[:, None]),
    ("an object with a dict", lambda y: Plain({"y": y}), lambda b: b.y["y"]),
    ("an object in an object", lambda y: Plain(Plain(y)), lambda b: b.y.y),
    ("an object three levels deep", lambda y: Plain(Slots(Plain(y))), lambda b: b.y.y.y),
    ("an object in a dict in a list", lambda y: [{"b": Plain(y)}], lambda b: b[0]["b"].y),
    ("a property", Private, by_attribute),
    ("an attribute of the class", lambda y: type("Classed", (), {"y": y})(), by_attribute),
    ("a callable object", Callback, lambda b: b()),
    ("a user's dict", lambda y: collections.UserDict({"y": y}), by_key),
    ("a user's list", lambda y: collections.UserList([y]), lambda b: b[0]),
    ("a subclass of dict", lambda y: Dict(y=y), by_key),
    ("a subclass of list", lambda y: List([y]), lambda b: b[0]),
    ("a chain of maps", lambda y: collections.ChainMap({}, {"y": y}), by_key),
    ("a read-only view of a dict", lambda y: types.MappingProxyType({"y": y}), by_key),
    ("a mapping of its own", Mapped, by_key),
    ("something like a table", Frame, by_key),
    ("a member of an enumeration", of_enum, lambda b: b.value.y),
    ("an attribute of an array", attached, by_attribute),
    ("a dictionary of weak values", Weak, by_attribute),
    ("a closure", lambda y: lambda: y, lambda b: b()),
    ("a list in a numpy array", lambda y: np.array([y, None], dtype=object), lambda b: b[0]),
    ("a memoryview", lambda y: memoryview(y), np.asarray),
    ("a view of the values of a dict", lambda y: {"y": y}.values(), lambda b: next(iter(b))),
    ("a set of one object", lambda y: frozenset([Plain(y)]), lambda b: next(iter(b)).y),
)  # fmt: skip
"""Name, how it is made from an array, how the array is had."""
KNOWN: tuple[Holder, ...] = (
    ("a dict", lambda y: {"y": y}, by_key),
    ("a tuple", lambda y: (y, 2), lambda b: b[0]),
    ("a named tuple", Named, by_attribute),
    ("an ordered dict", lambda y: collections.OrderedDict(y=y), by_key),
    ("a dict with a default", lambda y: collections.defaultdict(list, y=y), by_key),
)
"""Containers that the library opens: what they hold is cut."""
