"""Trees of leaves, and the paths of their leaves.

Invariant: trees are optree's in the namespace "microbatch", and None is a leaf: the one flatten of the project, so a
registered container is opened everywhere or nowhere. A path is found from the structure alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

__all__ = ["NAMESPACE", "Names", "Parts", "flatten_tree", "leaf_paths", "output_name"]


NAMESPACE = "microbatch"


Names = Sequence[str]
"""Parameter names, by position."""
Parts = tuple[Any, ...]
"""A path: the key, index or field at each level."""


def leaf_paths(spec: optree.PyTreeSpec) -> list[Parts]:
    """The path of each leaf: keys, indices, and field names of named tuples."""
    return [tuple(_entry(entry) for entry in accessor) for accessor in spec.accessors()]


def output_name(path: Parts) -> str:
    """How a message calls an output leaf: `output['h'][0]`."""
    return "output" + "".join(f"[{part!r}]" for part in path)


def _entry(entry: Any) -> Any:
    return entry.field if isinstance(entry, optree.NamedTupleEntry) else entry.entry


def flatten_tree(tree: Any, is_leaf: Callable[[Any], bool] | None) -> tuple[list[Any], optree.PyTreeSpec]:
    return optree.tree_flatten(tree, is_leaf, none_is_leaf=True, namespace=NAMESPACE)
