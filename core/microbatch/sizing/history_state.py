"""What a policy learned, as the JSON text that a history keeps.

Invariant: what is read is what could have been written: an object of finite numbers, texts, lists and
objects, of limited size and depth, every whole number within 64 bits. Nothing else is written, so that a
history never holds what its next reader refuses. Whether the numbers make sense the policy decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from microbatch.options.raised import attempted

MOST_TEXT = 1 << 20
"""Characters of one state; `auto` needs about 2000 for each kind of batch, and keeps 256 of them."""
DEEPEST = 32
"""Levels of lists and objects; `auto` in a chain has 10."""
LARGEST = 2**63
"""Whole numbers are smaller than this in magnitude: Python reads numbers of any length."""


def written(state: Mapping[str, Any]) -> str | None:
    """The text for `state`; None where it holds what may not be kept."""
    text, _ = attempted(lambda: json.dumps(state, allow_nan=False))
    return None if text is None or read(text) is None else text


def read(text: str) -> dict[str, Any] | None:
    """The state in `text`; None where it is none. NaN and what is beyond floats `msgspec` refuses itself."""
    if len(text) > MOST_TEXT:
        return None
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return found if isinstance(found, dict) and _within_limits(found) else None


def _within_limits(state: dict[str, Any]) -> bool:
    """Whether all lists and objects are shallow enough and all whole numbers small enough."""
    level: list[Any] = [state]
    for _ in range(DEEPEST):
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
        if any(isinstance(value, int) and not -LARGEST < value < LARGEST for value in level):
            return False
        level = [value for value in level if isinstance(value, (dict, list))]
    return not level
