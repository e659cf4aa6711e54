"""Trees of leaves, the names of their leaves, and which declared rule is for which leaf.

Invariant: a path is found from the structure alone, so what was found for a structure holds for every tree of
it. Trees are optree's, namespace "microbatch", None is a leaf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optree

from microbatch.arrays.trees import NAMESPACE, Names, Parts, flatten_tree, leaf_paths
from microbatch.binding.patterns import is_wild, match, spellings, tell_unused
from microbatch.binding.rules import Layout, Rule
from microbatch.errors import LayoutError

__all__ = [
    "NAMESPACE",
    "Names",
    "declared_rules",
    "flatten",
    "input_name",
    "leaf_paths",
    "matches",
]

_LIST_KINDS = frozenset({"tokens", "requests", "per_ubatch", "collect", "reduce"})
_NODE_KINDS = frozenset({"per_ubatch", "collect", "reduce"})
_DEEPEST = 100  # levels searched for declared lists; beyond that a tree most likely contains itself
_KEPT = 64  # structures a layout remembers; a program has a handful, a fuzzer must not fill the memory


def flatten(tree: Any, layout: Layout | None, side: str, names: Names) -> tuple[list[Any], optree.PyTreeSpec]:
    """Leaves and structure of `tree`. Nodes that a rule takes whole (a list cut as a list) are leaves.

    Raises LayoutError for a tree that contains itself or is nested too deep to walk.
    """
    rules = None if layout is None else (layout.inputs if side == "inputs" else layout.outputs)
    try:
        if layout is None or not rules:
            return flatten_tree(tree, None)
        if not any(rule.kind in _NODE_KINDS for rule in rules.values()):
            leaves, spec = flatten_tree(tree, _is_list)
            lists = [index for index, leaf in enumerate(leaves) if type(leaf) is list]
            if not lists or _all_whole(lists, spec, layout, rules, side, names):
                return leaves, spec
        whole = _whole_nodes(tree, (), rules, side, names)
        return flatten_tree(tree, (lambda node: id(node) in whole) if whole else None)
    except RecursionError:
        what = "the inputs" if side == "inputs" else "the output"
        raise LayoutError(f"{what} contain themselves or are nested too deep; pass a flatter tree") from None


def declared_rules(
    spec: optree.PyTreeSpec, layout: Layout | None, side: str, names: Names
) -> tuple[tuple[Rule | None, bool], ...] | None:
    """For each leaf its declared rule (or None) and whether the rule names this very leaf; None without any."""
    if layout is None:
        return None
    rules = layout.inputs if side == "inputs" else layout.outputs
    if not rules:
        return None
    key = (spec, side, tuple(names))
    found: tuple[tuple[Rule | None, bool], ...] | None = layout.known.get(key)
    if found is None:
        paths = leaf_paths(spec)
        found = tuple(_rule_for(path, rules, side, names) for path in paths)
        _remember(layout, key, found)
        tell_unused(layout, paths, found, side, names)
    return found


def input_name(path: Parts, names: Names) -> str:
    """How a message calls an input leaf: `batch['mask'][0]`, or `args[0]` where the parameter has no name."""
    place, key, *rest = path
    head = str(key)
    if place == 0:
        head = str(names[key]) if key < len(names) else f"args[{key}]"
    return head + "".join(f"[{part!r}]" for part in rest)


def matches(pattern: str, path: Parts, names: Names) -> bool:
    """Whether an input `pattern` (such as `Layout.lengths`) names the leaf at `path`."""
    return match(pattern, spellings(path, "inputs", names))


def _is_list(node: Any) -> bool:
    return type(node) is list


def _remember(layout: Layout, key: Any, found: Any) -> None:
    if len(layout.known) >= _KEPT:
        layout.known.clear()
    layout.known[key] = found


def _all_whole(
    lists: Sequence[int],
    spec: optree.PyTreeSpec,
    layout: Layout,
    rules: Mapping[str, Rule],
    side: str,
    names: Names,
) -> bool:
    """Whether every list among the leaves is one that a rule takes whole."""
    key = (spec, side, tuple(names), tuple(lists))
    found: bool | None = layout.known.get(key)
    if found is None:
        paths = leaf_paths(spec)
        found = all(_takes_whole(paths[index], rules, side, names, _LIST_KINDS) for index in lists)
        _remember(layout, key, found)
    return found


def _takes_whole(
    path: Parts, rules: Mapping[str, Rule], side: str, names: Names, kinds: frozenset[str]
) -> bool:
    rule, own = _rule_for(path, rules, side, names, container=True)
    return rule is not None and own and rule.kind in kinds


def _whole_nodes(node: Any, path: Parts, rules: Mapping[str, Rule], side: str, names: Names) -> set[int]:
    """Ids of the nodes that a rule without wildcards names and takes whole."""
    if optree.tree_is_leaf(node, none_is_leaf=True, namespace=NAMESPACE):
        return set()
    if len(path) > _DEEPEST:
        raise RecursionError
    one = optree.tree_flatten_one_level(node, none_is_leaf=True, namespace=NAMESPACE)
    if _takes_whole(path, rules, side, names, _LIST_KINDS if type(node) is list else _NODE_KINDS):
        return {id(node)}
    found: set[int] = set()
    fields = getattr(node, "_fields", None)
    for position, (entry, child) in enumerate(zip(one.entries, one.children, strict=True)):
        name = fields[position] if fields else entry
        found |= _whole_nodes(child, (*path, name), rules, side, names)
    return found


def _rule_for(
    path: Parts, rules: Mapping[str, Rule], side: str, names: Names, container: bool = False
) -> tuple[Rule | None, bool]:
    """The rule for the node at `path`, from itself or its nearest ancestor, and whether it is its own."""
    first = 2 if side == "inputs" else 0
    for depth in range(len(path), first - 1, -1):
        spelt = spellings(path[:depth], side, names)
        own = depth == len(path)
        for pattern, rule in rules.items():
            if is_wild(pattern) and (container or not own):
                continue
            if match(pattern, spelt):
                return rule, own
    return None, False
