"""Which types are opened as containers, found out when the first object of a type is met.

Invariant: a type is a container everywhere or nowhere: what is opened is registered with optree, once and for
the process, in the namespace of this project. What was announced goes first, then torch's own registry of
trees (which has every `ModelOutput` of Hugging Face), then what the class itself says: a mapping, a
dataclass, attrs, and last JAX's registry. Whatever has rows or a shape is a leaf. Rejected: opening any
object by its attributes, as it may keep other things in step with them.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import optree

from microbatch.arrays.announced import Announcement, announced_for, with_these
from microbatch.arrays.looks import is_array
from microbatch.arrays.records import Opened, Way, way_into
from microbatch.arrays.row_types import has_rows

NAMESPACE = "microbatch"
"""Where container types are registered."""
MOST = 1024
"""Classes that are remembered as no containers."""
_PLAIN: frozenset[type] = frozenset(
    {np.ndarray, int, float, bool, complex, str, bytes, type(None), list, tuple, deque, range, dict}
)
"""No objects of these are opened by registering their type: optree opens some itself."""

IsLeaf = Callable[[Any], bool]
WayOf = Callable[[type], Way | None]
"""way_of(class) -> how its objects are opened."""


class Containers:
    """What is known of types. Usable from several threads: what one finds, another may find as well."""

    __slots__ = ("_announced", "_closed", "_records")

    def __init__(self) -> None:
        self._announced: tuple[Announcement[WayOf], ...] = ()
        self._closed = set(_PLAIN)
        self._records: set[type] = set()

    def announce(self, announced: Iterable[Announcement[WayOf]]) -> None:
        """Open these, too, from the first of them that is met; may be repeated."""
        now = with_these(self._announced, announced)
        if now is not self._announced:
            self._announced = now
            self._closed = set(_PLAIN)

    def any_new(self, leaves: Sequence[Any], is_leaf: IsLeaf | None) -> bool:
        """Whether any of these, which were taken for leaves, is a container after all."""
        closed = self._closed
        if closed.issuperset(map(type, leaves)):
            return False
        unknown = {type(leaf): leaf for leaf in leaves if type(leaf) not in closed}
        opened = [self._opens(leaf, is_leaf) for leaf in unknown.values()]  # all of them, not up to the first
        return any(opened)

    def opens(self, node: Any) -> bool:
        """Whether it is of a type that this opens, from now on if not before."""
        return type(node) not in self._closed and self._opens(node, None)

    def is_record(self, node: Any) -> bool:
        """Whether it is an object that functions may know by identity, and that is opened."""
        return type(node) in self._records

    def _opens(self, leaf: Any, is_leaf: IsLeaf | None) -> bool:
        kind = type(leaf)
        if optree.register_pytree_node.get(kind, namespace=NAMESPACE) is not None:
            return is_leaf is None or not is_leaf(leaf)
        way = self._way_into(leaf)
        if way is None or not register(kind, way):
            if len(self._closed) >= MOST:
                self._closed = set(_PLAIN)
            self._closed.add(kind)
            return False
        if way.is_record:
            self._records.add(kind)
        return is_leaf is None or not is_leaf(leaf)

    def _way_into(self, leaf: Any) -> Way | None:
        kind = type(leaf)
        if issubclass(kind, type) or has_rows(leaf) or is_array(leaf):
            return None
        announced = announced_for(kind, self._announced)
        return announced(kind) if announced else _way_of_torch(kind) or way_into(kind) or _way_of_jax(leaf)


CONTAINERS = Containers()
"""Made while this module is imported, which happens once."""


def register(kind: type, way: Way) -> bool:
    """Tell optree of the class; whether it knows it now, as another thread may have told it meanwhile."""
    try:
        optree.register_pytree_node(kind, way.flatten, way.unflatten, namespace=NAMESPACE)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return optree.register_pytree_node.get(kind, namespace=NAMESPACE) is not None
    return True


class _Context:
    """What torch's registry needs to build an object again; compared by value, though it may be a list."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Context) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(type(self.value))


def _way_of_torch(kind: type) -> Way | None:
    """As torch opens it, where torch is loaded and knows it."""
    trees = sys.modules.get("torch.utils._pytree")
    node = getattr(trees, "SUPPORTED_NODES", {}).get(kind)
    if node is None or issubclass(kind, (tuple, list)):  # a torch.Size is a value
        return None

    def flatten(container: Any) -> Opened:
        if node.flatten_with_keys_fn is None:
            children, context = node.flatten_fn(container)
            return tuple(children), _Context(context), tuple(range(len(children)))
        keyed, context = node.flatten_with_keys_fn(container)
        return tuple([child for _, child in keyed]), _Context(context), tuple([_key(key) for key, _ in keyed])

    return Way(flatten, lambda context, children: node.unflatten_fn(children, context.value))


def _way_of_jax(node: Any) -> Way | None:
    """As JAX opens it, where JAX is loaded and knows its type."""
    trees = sys.modules.get("jax.tree_util")
    if trees is None:
        return None

    def opened(container: Any) -> tuple[list[Any], Any]:
        children, spec = trees.tree_flatten(container, is_leaf=lambda inner: inner is not container)
        return children, spec

    def flatten(container: Any) -> Opened:
        children, spec = opened(container)
        return tuple(children), spec, tuple(range(len(children)))

    children = opened(node)[0]
    if len(children) == 1 and children[0] is node:
        return None
    return Way(flatten, lambda spec, children: spec.unflatten(children))


def _key(entry: Any) -> Any:
    """The key, name or number in one of torch's entries of a path."""
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return getattr(entry, attribute)
    return str(entry)
