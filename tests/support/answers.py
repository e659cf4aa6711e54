"""Whether two answers are one: types, structure and values, to the tolerance of `microbatch.check`.

Invariant: nothing of the library walks or compares here except for its table of tolerances, so an error in
its own comparison, or a container that it does not open, cannot hide a wrong answer. Rejected: `Comparison`,
which is what the library itself decides by.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import numpy as np

from microbatch.arrays.comparing import RELATIVE, RELATIVE_ELSE

PLAIN = (str, bytes, bytearray, int, bool, type(None), set, frozenset, range, type)
"""Compared with `==`."""
OPAQUE = ("function", "builtin_function_or_method", "module", "method", "Lock", "RLock", "partial")
"""Names of the types of what is no data; it is not looked into."""


@dataclass(frozen=True, slots=True)
class Compare:
    """How two answers are compared."""

    exact: bool = False
    """Bit for bit."""

    def difference(self, expected: Any, found: Any, path: str = "output") -> str:
        """What differs first, in a sentence; empty where nothing does."""
        if expected is found:
            return ""
        if _class(expected) != _class(found):
            return f"{path}: a {type(expected).__name__} expected, a {type(found).__name__} found"
        if type(expected).__name__ in OPAQUE:
            return ""
        if hasattr(expected, "shape") and hasattr(expected, "dtype"):
            if expected.dtype == object == found.dtype:
                return self.difference(expected.tolist(), found.tolist(), path)
            return self._arrays(expected, found, path)
        if isinstance(expected, (float, complex)):
            return self._arrays(np.asarray(expected), np.asarray(found), path)
        if isinstance(expected, PLAIN):
            return "" if expected == found else f"{path}: {_short(expected)} expected, {_short(found)} found"
        return self._children(expected, found, path)

    def _children(self, expected: Any, found: Any, path: str) -> str:
        """The first difference of what containers and objects hold."""
        first, second = children(expected), children(found)
        if list(first) != list(second):
            return f"{path}: {_keys(first)} expected, {_keys(second)} found"
        return next(filter(None, starmap(self.difference, _pairs(first, second, path))), "")

    def _arrays(self, expected: Any, found: Any, path: str) -> str:
        """The first difference of two arrays."""
        for what in ("dtype", "shape", "requires_grad", "device"):
            first, second = getattr(expected, what, None), getattr(found, what, None)
            if first != second:
                return f"{path}: {what} {first} expected, {second} found"
        first, second = on_host(expected), on_host(found)
        far = _unequal(first, second) if self.exact else _far(first, second, _dtype(expected))
        if not far.any():
            return ""
        place = tuple(int(number) for number in np.argwhere(far)[0])
        share = f"{int(far.sum())} of {far.size} values"
        return f"{path}{list(place)}: {first[place]} expected, {second[place]} found ({share} differ)"


def children(value: Any) -> Mapping[Any, Any]:
    """What a container or an object holds, by name."""
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "state_dict"):
        return dict(value.state_dict())
    if hasattr(value, "bit_generator"):
        return {"state": str(value.bit_generator.state)}
    if hasattr(value, "get_state"):
        return {"state": on_host(value.get_state()).tolist()}
    if isinstance(value, Iterator):
        return dict(enumerate(value))
    if hasattr(value, "__dict__") or hasattr(type(value), "__slots__"):
        entries = dict(enumerate(value)) if hasattr(value, "__len__") and hasattr(value, "__iter__") else {}
        slots = {name: getattr(value, name) for name in _slots(value) if hasattr(value, name)}
        named = {
            name: kept for name, kept in getattr(value, "__dict__", {}).items() if name != "__objclass__"
        }
        return {**entries, **slots, **named}  # a member of an enumeration refers to its class
    return dict(enumerate(value)) if hasattr(value, "__iter__") else {"repr": repr(value)}


def on_host(array: Any) -> Any:
    """The values as a NumPy array."""
    if isinstance(array, np.ma.MaskedArray):
        return array.filled(np.nan if array.dtype.kind == "f" else 0)
    if not hasattr(array, "detach"):
        return np.asarray(array)
    array = array.detach()
    return array.float().numpy() if "bfloat16" in str(array.dtype) else array.numpy()


def _class(value: Any) -> tuple[str, str]:
    """The name of a type: classes that are made anew for each call count as one."""
    return type(value).__module__, type(value).__qualname__


def _slots(value: Any) -> tuple[str, ...]:
    names = getattr(type(value), "__slots__", ())
    return (names,) if isinstance(names, str) else tuple(names)


def _pairs(first: Mapping[Any, Any], second: Mapping[Any, Any], path: str) -> Iterator[tuple[Any, Any, str]]:
    for key, child in first.items():
        yield child, second[key], f"{path}[{key!r}]"


def _dtype(array: Any) -> str:
    return str(array.dtype).rpartition(".")[2]


def _far(expected: Any, found: Any, dtype: str) -> Any:
    """Which values differ by more than rounding."""
    if expected.dtype.kind not in "fc":
        return _unequal(expected, found)
    rtol = RELATIVE.get(dtype, RELATIVE_ELSE)
    with np.errstate(all="ignore"):
        size = np.abs(np.where(np.isfinite(expected), expected, 0)).astype("f8")
        mean = float(size.mean()) if size.size else 0.0
        return ~np.isclose(found, expected, rtol=rtol, atol=rtol * mean, equal_nan=True)


def _unequal(expected: Any, found: Any) -> Any:
    if expected.dtype.kind not in "fc":
        return np.asarray(expected != found)
    return np.asarray((expected != found) & ~(np.isnan(expected) & np.isnan(found)))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def _keys(held: Mapping[Any, Any]) -> str:
    return f"{len(held)} entries" if len(held) > 4 else f"the entries {_short(list(held))}"
