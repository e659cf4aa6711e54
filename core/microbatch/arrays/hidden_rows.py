"""Something with an entry per row inside an object that nobody knows how to cut.

Invariant: only fields, slots, attributes that are stored, and items are read, up to `LEVELS` deep and `MOST`
values in all; no property is run, since running one may compute or change something. Classes, functions and
modules (of Python and of frameworks) are not looked into: what they hold is not a batch. Rejected: cutting
what was found, as the object may keep other things in step with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from microbatch.arrays.looks import is_array
from microbatch.arrays.row_types import rows_of
from microbatch.arrays.stored import stored_in

LEVELS = 3
"""How deep an object is searched."""
MOST = 512
"""Values that are looked at in one object."""
FEW = 3
"""A sequence this short is more often a size of something (a stride, a colour) than rows of a small batch."""

_CLOSED = (
    type,
    ModuleType,
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    Enum,
    str,
    bytes,
    int,
    float,
    complex,
)
"""Values without anything inside that could be rows."""


def hidden_rows(value: Any, counts: frozenset[int]) -> str | None:
    """Where `value` holds something with as many rows as one of `counts`, such as `.y` or `['k'][0]`."""
    level: list[tuple[str, Any]] = [("", value)]
    seen: set[int] = set()
    for _ in range(LEVELS + 1):
        deeper: list[tuple[str, Any]] = []
        for path, node in level:
            if id(node) in seen or len(seen) >= MOST:
                continue
            seen.add(id(node))
            if _has_rows(node, counts):
                return path
            if not is_array(node):
                deeper += [(path + name, child) for name, child in islice(inside(node), MOST)]
        level = deeper
    return None


def inside(node: Any) -> Iterator[tuple[str, Any]]:
    """(how it is reached, value) of everything stored in `node`; nothing for a plain value."""
    if isinstance(node, _CLOSED) or node is None or is_module(node):
        return
    if isinstance(node, Mapping):
        yield from ((f"[{key!r}]", child) for key, child in islice(node.items(), MOST))
    elif isinstance(node, (list, tuple, deque, AbstractSet)):
        yield from ((f"[{place}]", child) for place, child in enumerate(islice(node, MOST)))
    yield from attributes_of(node)


def attributes_of(node: Any) -> Iterator[tuple[str, Any]]:
    """The attributes that an object stores, each as `.name`."""
    return ((f".{name}", child) for name, child in stored_in(node))


def is_module(candidate: Any) -> bool:
    """Whether it is a framework's module: told by what it has, since core imports no framework."""
    kind = type(candidate)
    if isinstance(candidate, type):
        return False
    return callable(getattr(kind, "buffers", None)) and isinstance(getattr(candidate, "training", None), bool)


def _has_rows(node: Any, counts: frozenset[int]) -> bool:
    """Whether `node` itself has one of the numbers of rows: an array, a table, or anything with a length."""
    if is_array(node):
        return len(node.shape) > 0 and node.shape[0] in counts
    if isinstance(node, _CLOSED) or node is None or is_module(node):
        return False
    try:
        rows = rows_of(node)
        size = len(node) if rows is None else rows.length(node)
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError):
        return False
    return size > FEW and size in counts
