"""The leaves of a call, which declared rule is for which of them, and how a message or a pattern names each.

Invariant: a leaf takes the first rule whose pattern names it, else the rule of its nearest container that one
names. What was found for a structure is kept with the layout, since it depends on nothing else. Nothing of
the arrays is read here; a name is made only when a message needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec import Struct

from microbatch.arrays.looks import is_array, size_of
from microbatch.arrays.row_lists import holds_values, is_row_list
from microbatch.arrays.trees import LeafPath, TreeSpec, children_of, flatten, leaf_paths
from microbatch.binding.patterns import Side, SideName, is_wild, match, spellings
from microbatch.binding.rules import Layout, Rule
from microbatch.errors import LayoutError

Declared = tuple[tuple[Rule | None, bool], ...]
"""For each leaf its rule, None where no pattern names it, and whether the pattern names this very leaf."""

_LIST_KINDS = frozenset({"tokens", "requests", "per_ubatch", "collect", "reduce"})
"""Rules that take a list as one leaf."""
_NODE_KINDS = frozenset({"per_ubatch", "collect", "reduce"})
"""Rules that take any container as one leaf."""
_DEEPEST = 100
"""Levels searched for declared lists; a tree that is deeper most likely contains itself."""
_KEPT = 64
"""Structures that a layout remembers. A program has a handful; ever new ones must not fill the memory."""


def flatten_by_layout(
    tree: Any, layout: Layout | None, side: SideName, names: Sequence[str] = ()
) -> tuple[list[Any], TreeSpec]:
    """The leaves and the structure of `tree`, where a container that a rule takes whole is one leaf.

    Raises LayoutError for a tree that contains itself or is nested too deep.
    """
    declaring = _declaring(layout, side, names)
    try:
        return flatten(tree) if declaring is None else _flattened(declaring, tree)
    except RecursionError:
        raise _too_deep(side) from None


def flatten_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], layout: Layout | None, names: Sequence[str]
) -> tuple[list[Any], TreeSpec]:
    """The leaves and the structure of `(args, kwargs)`.

    A list, tuple or deque of values is one leaf, and so is one with an entry for each row of an array.
    """
    tree = (args, kwargs)
    declaring = _declaring(layout, "inputs", names)
    if declaring is None and all(map(is_array, (*args, *kwargs.values()))):
        return flatten(tree)  # the commonest calls have no containers
    opened: set[int] = set()

    def is_leaf(node: Any) -> bool:
        if not is_row_list(node) or node is tree or node is args:
            return False
        if holds_values(node):
            return True
        opened.add(len(node))
        return False

    try:
        leaves, spec = flatten(tree, is_leaf)
        sizes = opened.intersection(size_of(leaf) for leaf in leaves if not is_row_list(leaf))
        if declaring is not None:
            return _flattened(declaring, tree, sizes)
        if not sizes:
            return leaves, spec
        return flatten(tree, lambda node: _is_values(node, tree, sizes))
    except RecursionError:
        raise _too_deep("inputs") from None


def declared_rules(
    spec: TreeSpec, layout: Layout | None, side: SideName, names: Sequence[str] = ()
) -> Declared | None:
    """The declared rule of each leaf; None where the layout declares nothing on this side.

    Warns once of each pattern that names nothing.
    """
    declaring = _declaring(layout, side, names)
    if declaring is None:
        return None

    def find() -> Declared:
        paths = leaf_paths(spec)
        found = tuple(_rule_for(declaring, path) for path in paths)
        declaring.warn_of_unused(paths, found)
        return found

    declared: Declared = _kept(declaring, (spec,), find)
    return declared


def input_name(path: LeafPath, names: Sequence[str]) -> str:
    """How a message calls an input leaf: `batch['mask'][0]`, or `args[0]` where the parameter has no name."""
    place, key, *rest = path
    head = str(key)
    if place == 0:
        head = str(names[key]) if key < len(names) else f"args[{key}]"
    return head + "".join(f"[{part!r}]" for part in rest)


class CallLeaves(Struct, frozen=True, kw_only=True):
    """The arguments of one call, flat."""

    args: tuple[Any, ...]
    """Positional arguments."""
    kwargs: dict[str, Any]
    """Arguments by name."""
    values: Sequence[Any]
    """The leaves of both, in order."""
    spec: TreeSpec
    """The structure of `(args, kwargs)`."""
    names: Sequence[str]
    """Names of the positional parameters."""

    def name(self, index: int) -> str:
        """How a message calls the leaf: `batch['mask'][0]`."""
        return input_name(leaf_paths(self.spec)[index], self.names)

    def pattern(self, index: int) -> str:
        """The pattern of a layout that names the leaf and no other: `batch.mask.0`."""
        return spellings(leaf_paths(self.spec)[index], "inputs", self.names)[-1]

    def find(self, pattern: str) -> int | None:
        """The number of the first leaf that `pattern` names."""
        for index, path in enumerate(leaf_paths(self.spec)):
            if match(pattern, spellings(path, "inputs", self.names)):
                return index
        return None


def _declaring(layout: Layout | None, name: SideName, names: Sequence[str]) -> Side | None:
    """The side, if it has rules."""
    if layout is None:
        return None
    rules = layout.inputs if name == "inputs" else layout.outputs
    return Side(layout, name, rules, names) if rules else None


def _flattened(side: Side, tree: Any, sizes: Collection[int] = ()) -> tuple[list[Any], TreeSpec]:
    """As `flatten_by_layout`; first tried without a search, as few trees have a list that a rule takes."""
    inputs = side.name == "inputs"
    if not any(rule.kind in _NODE_KINDS for rule in side.rules.values()):
        leaves, spec = flatten(
            tree, lambda node: type(node) is list or (inputs and _is_values(node, tree, sizes))
        )
        lists = tuple(index for index, leaf in enumerate(leaves) if type(leaf) is list)

        def find() -> bool:
            """Whether every list among the leaves is one that a rule takes whole."""
            paths = leaf_paths(spec)
            return all(_takes_whole(side, paths[index], _LIST_KINDS) for index in lists)

        if not lists or _kept(side, (spec, lists), find):
            return leaves, spec
    whole = _whole_nodes(side, tree, ())
    return flatten(tree, lambda node: id(node) in whole or (inputs and _is_values(node, tree, sizes)))


def _is_values(node: Any, tree: Any, sizes: Collection[int]) -> bool:
    """Whether a list that no rule names is one leaf of the inputs `tree`."""
    return node is not tree and node is not tree[0] and holds_values(node, sizes)


def _too_deep(side: SideName) -> LayoutError:
    what = "the inputs" if side == "inputs" else "the output"
    return LayoutError(f"{what} contain themselves or are nested too deep; pass a flatter tree")


def _rule_for(side: Side, path: LeafPath, *, container: bool = False) -> tuple[Rule | None, bool]:
    """The rule for the node at `path`, from itself or its nearest ancestor, and whether it is its own."""
    for depth in range(len(path), side.shortest - 1, -1):
        spelt, own = side.spelt(path[:depth]), depth == len(path)
        for pattern, rule in side.rules.items():
            if match(pattern, spelt) and not (is_wild(pattern) and (container or not own)):
                return rule, own
    return None, False


def _takes_whole(side: Side, path: LeafPath, kinds: frozenset[str]) -> bool:
    rule, own = _rule_for(side, path, container=True)
    return rule is not None and own and rule.kind in kinds


def _whole_nodes(side: Side, node: Any, path: LeafPath) -> set[int]:
    """Ids of the nodes that a rule without wildcards names and takes whole."""
    children = children_of(node)
    if children is None:
        return set()
    if len(path) > _DEEPEST:
        raise RecursionError
    if _takes_whole(side, path, _LIST_KINDS if type(node) is list else _NODE_KINDS):
        return {id(node)}
    return set[int]().union(*(_whole_nodes(side, child, (*path, name)) for name, child in children))


def _kept(side: Side, structure: tuple[Any, ...], find: Callable[[], Any]) -> Any:
    """What `find` answers for a structure on this side, asked once."""
    known, key = side.layout.known, (side.name, tuple(side.names), *structure)
    found = known.get(key)
    if found is None:
        found = find()
        if len(known) >= _KEPT:
            known.clear()
        known[key] = found
    return found
