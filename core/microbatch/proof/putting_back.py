"""Contents of containers, objects and arrays, saved so that they can be put back.

Invariant: the same objects stay in use; only their contents are put back, and only where they have changed.
Arrays up to `LARGEST` bytes are copied; a larger one keeps what calls wrote into it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from microbatch.arrays.hidden_rows import is_module
from microbatch.arrays.looks import is_shaped
from microbatch.arrays.memory import contents_of

LARGEST = 4 << 20
"""Bytes of an array that is saved; copying it takes about a millisecond."""


def saved_contents(value: Any) -> Callable[[], None] | None:
    """What puts the contents of `value` back; None where nothing of it can change or be saved."""
    if is_shaped(value):
        return _saved_array(value)
    if is_module(value):
        return _saved_module(value)
    if isinstance(value, dict):
        return partial(_put_items, value, dict(value))
    if isinstance(value, (list, deque)):
        return partial(_put_entries, value, list(value))
    if isinstance(value, set):
        return partial(_put_members, value, set(value))
    attributes = getattr(value, "__dict__", None)
    if type(attributes) is dict and not isinstance(value, type):
        return partial(_put_items, attributes, dict(attributes))
    return None


def _put_items(now: dict[Any, Any], before: dict[Any, Any]) -> None:
    """Key by key: another thread that reads it meanwhile must not find it empty."""
    for key in [key for key in now if key not in before]:
        now.pop(key, None)
    for key, value in before.items():
        if key not in now or now[key] is not value:
            now[key] = value


def _put_entries(now: Any, before: list[Any]) -> None:
    if len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True)):
        return
    if isinstance(now, list):
        now[:] = before
    else:
        now.clear()
        now.extend(before)


def _put_members(now: set[Any], before: set[Any]) -> None:
    now.intersection_update(before)
    now.update(before)


def _saved_module(module: Any) -> Callable[[], None]:
    """Buffers and plain attributes of a framework's module and of those in it."""
    parts = list(module.modules()) if hasattr(module, "modules") else [module]
    saved = [_saved_array(buffer) for buffer in module.buffers()]
    attributes = [(vars(part), dict(vars(part))) for part in parts]

    def put_back() -> None:
        for now, before in attributes:
            _put_items(now, before)
        for restore in saved:
            if restore is not None:
                restore()

    return put_back


def _saved_array(array: Any) -> Callable[[], None] | None:
    if isinstance(array, np.generic) or int(getattr(array, "nbytes", LARGEST + 1)) > LARGEST:
        return None
    copy = getattr(array, "clone", None) or getattr(array, "copy", None)
    if copy is None or (isinstance(array, np.ndarray) and not array.flags.writeable):
        return None
    return partial(_refill, array, copy(), contents_of(array, LARGEST))


def _refill(array: Any, contents: Any, before: bytes | int | None) -> None:
    if before is None or contents_of(array, LARGEST) == before:
        return
    with suppress(TypeError, ValueError, RuntimeError):  # memory that may not be written any more
        array[...] = contents
