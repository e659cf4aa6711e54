"""Trees of containers and their leaves: the one flatten of the project.

Invariant: containers are those of optree's namespace "microbatch", into which a type comes when its first
object is met (`containers.py`), and None is a leaf. So a container is opened everywhere or nowhere, and as
many leaves are put back as were taken out. A path is found from the structure alone, so what was found for a
structure holds for every tree of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import optree

from microbatch.arrays.containers import CONTAINERS, NAMESPACE

TreeSpec: TypeAlias = optree.PyTreeSpec
"""The structure of a tree; `unflatten(leaves)` builds one of that structure."""
LeafPath = tuple[Any, ...]
"""The way to a leaf: key, index or field name at each level."""
IsLeaf = Callable[[Any], bool]


def flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of `tree` in order, and its structure; what `is_leaf` says yes to is not opened.

    Raises RecursionError for containers that contain themselves. Objects that do are leaves.
    """
    try:
        return _flatten(tree, is_leaf)
    except RecursionError:
        return _flatten(
            tree, lambda node: CONTAINERS.is_record(node) or (is_leaf is not None and is_leaf(node))
        )


def leaves_of(tree: Any) -> list[Any]:
    """The leaves of `tree` in order."""
    return flatten(tree)[0]


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of the same structure, with `function(leaf)` in place of each leaf."""
    leaves, spec = flatten(tree)
    return spec.unflatten(map(function, leaves))


def children_of(node: Any) -> Sequence[tuple[Any, Any]] | None:
    """(key, index or field name, child) of a container, in order; None for a leaf."""
    CONTAINERS.opens(node)
    if optree.tree_is_leaf(node, none_is_leaf=True, namespace=NAMESPACE):
        return None
    level = optree.tree_flatten_one_level(node, none_is_leaf=True, namespace=NAMESPACE)
    return list(zip(getattr(node, "_fields", None) or level.entries, level.children, strict=True))


def leaf_paths(spec: TreeSpec) -> list[LeafPath]:
    """The path of each leaf, in order."""
    return [tuple(_name(entry) for entry in accessor) for accessor in spec.accessors()]


def output_name(path: LeafPath) -> str:
    """How a message calls an output leaf: `output['h'][0]`."""
    return "output" + "".join(f"[{part!r}]" for part in path)


def _flatten(tree: Any, is_leaf: IsLeaf | None) -> tuple[list[Any], TreeSpec]:
    leaves, spec = optree.tree_flatten(tree, is_leaf, none_is_leaf=True, namespace=NAMESPACE)
    while CONTAINERS.any_new(leaves, is_leaf):
        leaves, spec = optree.tree_flatten(tree, is_leaf, none_is_leaf=True, namespace=NAMESPACE)
    return leaves, spec


def _name(entry: Any) -> Any:
    return entry.field if isinstance(entry, optree.NamedTupleEntry) else entry.entry
