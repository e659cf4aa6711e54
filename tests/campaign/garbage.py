"""What the garbage collector found, told as the circle that kept it.

Invariant: garbage that has nothing of the library and nothing of a step in it is somebody else's. Of the rest
one circle is shown, since what hangs on the circle would be free without it.
"""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from types import FrameType, FunctionType, MethodType, TracebackType
from typing import Any

import numpy as np

_LOOKED_AT = 400
"""Things of which a circle through them is looked for; to try all of many takes minutes."""


def told_of(garbage: Sequence[Any]) -> str:
    """How many things of ours there are and what keeps them; empty where there are none."""
    if not any(map(_holds_ours, garbage)):
        return ""
    kinds = Counter(type(thing).__qualname__ for thing in garbage).most_common(6)
    return f"{', '.join(f'{count} {name}' for name, count in kinds)}; by {_circle(garbage)}"


def _circle(garbage: Sequence[Any]) -> str:
    """The shortest circle found that keeps something of ours, as names of things."""
    found = {id(thing): thing for thing in garbage}
    after = {key: [k for k in map(id, gc.get_referents(thing)) if k in found] for key, thing in found.items()}
    keepers = _leading_to([key for key, thing in found.items() if _holds_ours(thing)], after)
    circles = (_back_to(key, after) for key in keepers[:_LOOKED_AT])
    shortest = min(filter(None, circles), key=len, default=[])
    return " -> ".join(_named(found[key]) for key in shortest)


def _leading_to(ends: Sequence[int], after: Mapping[int, Sequence[int]]) -> list[int]:
    """All from which one of `ends` is reached."""
    before: dict[int, list[int]] = {key: [] for key in after}
    for key, following in after.items():
        for each in following:
            before[each].append(key)
    seen, waiting = dict.fromkeys(ends), deque(ends)
    while waiting:
        for key in before[waiting.popleft()]:
            if key not in seen:
                seen[key] = None
                waiting.append(key)
    return list(seen)


def _back_to(start: int, after: Mapping[int, Sequence[int]]) -> list[int]:
    """The shortest way from `start` to itself; empty where there is none."""
    came_from: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        key = waiting.popleft()
        for following in after[key]:
            if following == start:
                return _way(start, key, came_from)
            if following not in came_from:
                came_from[following] = key
                waiting.append(following)
    return []


def _way(start: int, end: int, came_from: Mapping[int, int]) -> list[int]:
    way = [end]
    while way[-1] != start:
        way.append(came_from[way[-1]])
    return [*reversed(way), start]


def _holds_ours(thing: Any) -> bool:
    """Whether it is, or holds, something of ours: arrays of NumPy are unknown to the collector itself."""
    return _ours(thing) or any(map(_ours, gc.get_referents(thing)))


def _ours(thing: Any) -> bool:
    """Whether it is of the library, or something of a step: its arrays, errors, frames and functions."""
    if isinstance(thing, (np.ndarray, BaseException, TracebackType)) or type(thing).__name__ == "Tensor":
        return True
    if isinstance(thing, FrameType):
        return _package(thing.f_globals.get("__name__"))
    if isinstance(thing, (FunctionType, MethodType)):
        return _package(thing.__module__)
    return _package(type(thing).__module__)


def _package(module: object) -> bool:
    return isinstance(module, str) and module.startswith(("microbatch", "tests."))


def _named(thing: Any) -> str:
    if isinstance(thing, FrameType):
        return f"frame of {thing.f_code.co_qualname}:{thing.f_lineno}"
    if isinstance(thing, (FunctionType, MethodType)):
        return f"function {thing.__qualname__}"
    return type(thing).__qualname__
