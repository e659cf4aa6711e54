"""What calls must have in common so that what was shown of one holds for the other.

Invariant: two calls of one structure differ only in the values of arrays, in the number of rows, and in
entries of lists. Switches and names (`axis=0`, `mode="mean"`, None) are part of it, since a function may do
another thing for each. Rejected: only the types of constants, since a sum over axis 1 may be cut and one over
axis 0 may not.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from microbatch.arrays.hidden_rows import is_module
from microbatch.arrays.looks import is_array
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.trees import TreeSpec

_SWITCHES = frozenset({int, float, bool, complex, str, bytes, type(None)})


def structure_of(spec: TreeSpec, leaves: Sequence[Any]) -> Hashable:
    """A comparable value: the tree, and what each leaf is beside its number of rows."""
    sizes: dict[int, int] = {}
    return spec, tuple([_leaf(leaf, sizes) for leaf in leaves])


def _leaf(leaf: Any, sizes: dict[int, int]) -> Hashable:
    """Kind, dtype, shape of a row, and which other leaves have as many rows; a constant itself."""
    kind = type(leaf)
    if is_array(leaf):
        shape = tuple(leaf.shape)
        if not shape:
            return kind, str(leaf.dtype)
        return kind, str(leaf.dtype), shape[1:], sizes.setdefault(shape[0], len(sizes))
    if is_row_list(leaf):
        return kind, sizes.setdefault(len(leaf), len(sizes))
    if kind in _SWITCHES:
        return kind, leaf
    if is_module(leaf):
        return kind, leaf.training
    return kind, getattr(leaf, "__code__", None) or (leaf if isinstance(leaf, type) else None)
