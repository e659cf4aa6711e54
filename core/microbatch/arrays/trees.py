"""Trees of containers and their leaves: the one flatten of the project.

Invariant: containers are those of optree's namespace "microbatch", and None is a leaf. So a registered
container is opened everywhere or nowhere, and as many leaves are put back as were taken out. A path is found
from the structure alone, so what was found for a structure holds for every tree of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import optree

__all__ = [
    "NAMESPACE",
    "LeafPath",
    "TreeSpec",
    "children_of",
    "flatten",
    "leaf_paths",
    "leaves_of",
    "map_leaves",
    "output_name",
]

NAMESPACE = "microbatch"
"""Where container types are registered."""
TreeSpec: TypeAlias = optree.PyTreeSpec
"""The structure of a tree; `unflatten(leaves)` builds one of that structure."""
LeafPath = tuple[Any, ...]
"""The way to a leaf: key, index or field name at each level."""


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of `tree` in order, and its structure; what `is_leaf` says yes to is not opened."""
    return optree.tree_flatten(tree, is_leaf, none_is_leaf=True, namespace=NAMESPACE)


def leaves_of(tree: Any) -> list[Any]:
    """The leaves of `tree` in order."""
    return optree.tree_leaves(tree, none_is_leaf=True, namespace=NAMESPACE)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of the same structure, with `function(leaf)` in place of each leaf."""
    return optree.tree_map(function, tree, none_is_leaf=True, namespace=NAMESPACE)


def children_of(node: Any) -> Sequence[tuple[Any, Any]] | None:
    """(key, index or field name, child) of a container, in order; None for a leaf."""
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


def _name(entry: Any) -> Any:
    return entry.field if isinstance(entry, optree.NamedTupleEntry) else entry.entry
