"""What calls must have in common so that what was shown of one holds for the other.

Invariant: two calls of one structure differ only in the values of arrays, in the number of rows, in entries
of lists, and in numbers. Switches and names (`mode="mean"`, None, the fields of a settings object, short
lists of axes) are part of it, since a function may do another thing for each. Numbers are told apart from it:
`axis=0` and `axis=1` are two things, the time steps of a loop are one. Rejected: only the types of constants.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from enum import Enum
from itertools import islice
from typing import Any

import numpy as np

from microbatch.arrays.hidden_rows import attributes_of, is_module
from microbatch.arrays.looks import is_array
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import rows_of
from microbatch.arrays.trees import TreeSpec

Structure = tuple[Hashable, tuple[Hashable, ...]]
"""What is the same in calls that are alike, and the numbers among the arguments."""

_NUMBERS = (int, float, complex, np.generic)
_SWITCHES = (bool, str, bytes, type(None), Enum, type)
SHORT = 4
"""Entries of a list that is taken for settings (axes, sizes) and compared by value."""
FIELDS = 32
"""Fields of a settings object that are looked at."""


def structure_of(spec: TreeSpec, leaves: Sequence[Any]) -> Structure:
    """The tree and what each leaf is beside its number of rows; and the numbers."""
    sizes: dict[int, int] = {}
    numbers = tuple([_value(leaf) for leaf in leaves if _is_number(leaf)])
    return (spec, tuple([_leaf(leaf, sizes) for leaf in leaves])), numbers


def _leaf(leaf: Any, sizes: dict[int, int]) -> Hashable:
    """Kind, dtype, shape of a row, and which other leaves have as many rows; a switch itself."""
    kind = type(leaf)
    if _is_number(leaf):
        return (kind,)
    if is_array(leaf):
        shape = tuple(leaf.shape)
        if not shape:
            return kind, str(leaf.dtype)
        return kind, str(leaf.dtype), shape[1:], sizes.setdefault(shape[0], len(sizes))
    if is_row_list(leaf):
        settings = tuple(map(_value, leaf)) if len(leaf) <= SHORT else ()
        return kind, settings, sizes.setdefault(len(leaf), len(sizes))
    rows = rows_of(leaf)
    if rows is not None:
        return kind, rows.alike(leaf), sizes.setdefault(rows.length(leaf), len(sizes))
    if isinstance(leaf, _SWITCHES):
        return kind, leaf
    if is_module(leaf):
        return kind, leaf.training
    return kind, getattr(leaf, "__code__", None), _settings(leaf)


def _settings(leaf: Any) -> tuple[Hashable, ...]:
    """The fields of an object that are numbers, names and switches."""
    plain = (*_NUMBERS, *_SWITCHES)
    fields = islice(attributes_of(leaf), FIELDS)
    return tuple([(name, _value(value)) for name, value in fields if isinstance(value, plain)])


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, _NUMBERS) and not isinstance(leaf, bool)


def _value(entry: Any) -> Hashable:
    """Something that compares as the entry does; of what is neither number nor switch its type."""
    if isinstance(entry, float):
        return float, repr(entry)  # NaN does not equal itself, its text does
    if isinstance(entry, np.generic):
        return type(entry), repr(entry)
    return type(entry), entry if isinstance(entry, (*_NUMBERS, *_SWITCHES)) else None
