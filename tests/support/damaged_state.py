"""States of policies that somebody has tampered with, drawn.

Invariant: what is damaged is a copy; the damage is plain data, so that a failing test shows it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 7, 62, 63, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63), 2**64, 10**30, 10**400, 0.0, -0.0, 0.5,
    -0.5, 1e-300, 5e-324, 1e-18, 1e18, 1e75, 1e154, 1e200, 1.7e308, -1e308, math.inf, -math.inf, math.nan,
)  # fmt: skip
"""Numbers at the ends of what types and formulas take."""
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    "",
    "1",
    "nan",
    "learned",
    [],
    {},
    [[]],
    [1, 2],
    {"policy": "auto"},
)
"""Values of other types."""
VALUES = st.sampled_from(NUMBERS) | st.sampled_from(OTHERS) | st.floats() | st.integers()
CHANGES = st.sampled_from(("replace", "replace", "replace", "scale", "drop", "repeat", "swap"))
DAMAGES = st.lists(st.tuples(CHANGES, st.integers(0, 1 << 16), VALUES), min_size=1, max_size=3)
"""What is done to a state: how, at which of its places, and with what."""


def damaged(state: Any, damages: list[tuple[str, int, Any]]) -> Any:
    """A copy of the JSON tree `state` with `damages` done to it."""
    copy = json.loads(json.dumps(state))
    for how, number, value in damages:
        places = list(_places(copy))
        if not places:
            return value
        holder, key = places[number % len(places)]
        _damage(holder, key, how, deepcopy(value))  # its own: a list put into itself is no JSON
    return copy


def each_replaced(state: Any, values: tuple[Any, ...] = (*NUMBERS, *OTHERS)) -> Iterator[tuple[str, Any]]:
    """Every copy of `state` with one entry replaced by one of `values`; with the entry's place, as text."""
    copy = json.loads(json.dumps(state))
    for holder, key in list(_places(copy)):
        old = holder[key]
        for value in values:
            holder[key] = value
            yield f"{key!r} of {len(holder)}: {old!r:.20} is {value!r:.20}", copy
        holder[key] = old


def _damage(holder: Any, key: Any, how: str, value: Any) -> None:
    old = holder[key]
    if how == "drop":
        del holder[key]
    elif how == "repeat" and isinstance(holder, list):
        holder.insert(key, old)
    elif how == "swap" and isinstance(holder, list):
        holder.reverse()
    elif how == "scale" and type(old) is float and type(value) in (int, float):
        holder[key] = old * value if abs(value) < 1e300 else value
    else:
        holder[key] = value


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every entry of every list and object."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield tree, key
        yield from _places(value)
