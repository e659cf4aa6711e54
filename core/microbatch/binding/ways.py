"""The ways to open the arguments of a call: as trees of arrays, and as lists that are rows themselves.

Invariant: which ways there are, and their order, follows from the arguments' types and from which sizes are
equal. A list of arrays may be a tree (two fields of one batch) or a batch (images, a row each), which
sizes cannot tell, so both are readings that a proof tries. Rejected: one of them by a rule, since models take
lists of images and of fields alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from microbatch.arrays.containers import CONTAINERS
from microbatch.arrays.looks import is_array, size_of
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import has_rows
from microbatch.arrays.trees import TreeSpec, flatten
from microbatch.binding.paths import flatten_call
from microbatch.binding.rules import Layout

Opened = tuple[list[Any], TreeSpec]
"""Leaves and structure."""
LONG = 8
"""Arrays in a list that is more often a batch than a tree of fields."""


def ways_to_open(
    args: tuple[Any, ...], kwargs: dict[str, Any], layout: Layout | None, names: tuple[str, ...]
) -> list[Opened]:
    """One, or two where lists of the arguments may be rows: the likelier first."""
    as_tree = flatten_call(args, kwargs, layout, names)
    if layout is not None and layout.inputs:
        return [as_tree]
    lists = [value for value in (*args, *kwargs.values()) if is_row_list(value) and len(value) > 0]
    if not lists:
        return [as_tree]
    inside = {id(leaf) for value in lists for leaf in value}
    if any(id(leaf) not in inside and _has_size(leaf) for leaf in as_tree[0]):
        return [as_tree]
    whole = {id(value) for value in lists}
    as_rows = flatten((args, kwargs), lambda node: id(node) in whole)
    if not any(map(_has_size, as_tree[0])):
        return [as_rows]
    return [as_rows, as_tree] if max(map(len, lists)) > LONG else [as_tree, as_rows]


def untouched(values: Iterable[Any], rows: frozenset[int], cut: Iterable[Any]) -> Iterator[Any]:
    """The objects among these arguments of which nothing is cut: no leaf of them is one of those that are
    `cut`, or has as many rows as the batch.

    They go to the function themselves, which may know them or leave something in them.
    """
    known = {id(leaf) for leaf in cut}
    for value in values:
        if not CONTAINERS.is_record(value):
            continue
        leaves = flatten(value, lambda node: id(node) in known)[0]  # a list of numbers may be a leaf
        if not any(id(leaf) in known or size_of(leaf) in rows for leaf in leaves):
            yield value


def _has_size(leaf: Any) -> bool:
    return has_rows(leaf) or (is_array(leaf) and size_of(leaf) is not None)
