"""One call of an experiment: what the function returned, and what it did to its arguments.

Invariant: what was returned is copied before anything else is called, since the function may use its memory
again. The arguments are copies already, so what is written into them harms nobody.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from msgspec import Struct

from microbatch.arrays.comparing import equal_values
from microbatch.arrays.looks import class_of, is_array
from microbatch.arrays.memory import is_gone
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import has_rows, rows_of
from microbatch.arrays.trees import flatten, map_leaves
from microbatch.extend.device import Device, Owners
from microbatch.proof.host_values import HostValues


class Called(Struct, frozen=True):
    """One call that returned."""

    output: Any
    """Its outputs, as copies."""
    returned: Any
    """The outputs themselves, kept alive so that an equal address is the same memory."""
    arguments: list[Any]
    """The arrays it was given, as they are afterwards."""
    wrote: bool
    """Whether it wrote into any of them."""
    wrote_list: bool
    """Whether it wrote into a list or a table."""


class Arguments:
    """The arguments of one call, as they were before it."""

    def __init__(self, arguments: tuple[tuple[Any, ...], dict[str, Any]], device: Device) -> None:
        self._owners = owners = device.owners
        self._read = HostValues(device)
        leaves, _ = flatten(arguments, _is_list)
        self._lists = [leaf for leaf in leaves if _is_list(leaf)]
        self._entries = [list(leaf) for leaf in self._lists]
        self._tables = [leaf for leaf in leaves if has_rows(leaf) and not is_row_list(leaf)]
        self._rows = [copied(table, owners) for table in self._tables]
        arrays = [leaf for leaf in leaves if is_array(leaf) and leaf.shape]
        self._arrays = [array for array in arrays if owners.of(array).owns(array)]
        # copies, although torch counts writes: it does not count those through `.data` and `.numpy()`
        self._before = [copied(array, owners) for array in self._arrays]

    def after(self, returned: Any) -> Called:
        """What the call that returned `returned` did."""
        return Called(
            output=map_leaves(lambda leaf: copied(leaf, self._owners), returned),
            returned=returned,
            arguments=self._arrays,
            wrote=not all(map(self._as_before, self._before, self._arrays)),
            wrote_list=not all(map(_same_entries, self._lists, self._entries))
            or not all(map(equal_values, self._rows, self._tables)),
        )

    def _as_before(self, before: Any, array: Any) -> bool:
        """Whether a copy that the call was given holds what it held, or was taken by the call for itself."""
        return is_gone(array) or self._read.same(before, array)


def copied(leaf: Any, owners: Owners) -> Any:
    """A copy of an array or table; what is none, or cannot be made by its backend, as it is."""
    rows = rows_of(leaf)
    if rows is not None and not is_row_list(leaf):
        whole = rows.unsupported(leaf) is not None
        return leaf if whole else rows.take(leaf, np.arange(rows.length(leaf), dtype=np.int64))
    if not is_array(leaf) or isinstance(leaf, np.generic):
        return leaf
    try:
        backend = owners.of(leaf)
        if owners.joins(backend):
            return leaf  # nobody can write to it
        made = backend.empty(leaf.shape, leaf)
        if class_of(made) is not class_of(leaf):
            return leaf
        backend.copy(made, leaf)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        return leaf
    return made


def _is_list(node: Any) -> bool:
    """Whether it is a list that the function could write into."""
    return type(node) is list or type(node) is deque


def _same_entries(now: Any, before: list[Any]) -> bool:
    return len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True))
