"""Which declared rule is for which leaf, and how messages name leaves.

Invariant: a leaf takes the first rule whose pattern names it, else the rule of its nearest container that one
names. What was found for a structure is kept with the layout, since it depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microbatch.arrays.trees import LeafPath, TreeSpec, children_of, flatten, leaf_paths
from microbatch.binding.patterns import is_wild, match, spellings, warn_of_unused
from microbatch.binding.rules import Layout, Rule
from microbatch.errors import LayoutError

__all__ = ["Declared", "declared_rules", "flatten_by_layout", "input_name", "matches"]

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
    tree: Any, layout: Layout | None, side: str, names: Sequence[str]
) -> tuple[list[Any], TreeSpec]:
    """The leaves and the structure of `tree`, where a container that a rule takes whole is one leaf.

    `side` is "inputs" or "outputs". Raises LayoutError for a tree that contains itself or is nested too deep.
    """
    try:
        if layout is None or not _rules_of(layout, side):
            return flatten(tree)
        return SideRules(layout, side, names).flattened(tree)
    except RecursionError:
        what = "the inputs" if side == "inputs" else "the output"
        raise LayoutError(f"{what} contain themselves or are nested too deep; pass a flatter tree") from None


def declared_rules(spec: TreeSpec, layout: Layout | None, side: str, names: Sequence[str]) -> Declared | None:
    """The declared rule of each leaf; None where the layout declares nothing on this side.

    Warns once of each pattern that names nothing.
    """
    if layout is None or not _rules_of(layout, side):
        return None
    rules = SideRules(layout, side, names)

    def find() -> Declared:
        paths = leaf_paths(spec)
        found = tuple(rules.rule_for(path) for path in paths)
        warn_of_unused(layout, paths, found, side, names)
        return found

    declared: Declared = rules.kept((spec, side, tuple(names)), find)
    return declared


def input_name(path: LeafPath, names: Sequence[str]) -> str:
    """How a message calls an input leaf: `batch['mask'][0]`, or `args[0]` where the parameter has no name."""
    place, key, *rest = path
    head = str(key)
    if place == 0:
        head = str(names[key]) if key < len(names) else f"args[{key}]"
    return head + "".join(f"[{part!r}]" for part in rest)


def matches(pattern: str, path: LeafPath, names: Sequence[str]) -> bool:
    """Whether an input `pattern` (such as `Layout.lengths`) names the leaf at `path`."""
    return match(pattern, spellings(path, "inputs", names))


@dataclass(frozen=True, slots=True)
class SideRules:
    """The rules that a layout has for one side of a call, looked up by path."""

    layout: Layout
    """Whose rules they are; it keeps what was found."""
    side: str
    """"inputs" or "outputs"."""
    names: Sequence[str]
    """Names of the positional parameters; empty for outputs."""

    @property
    def rules(self) -> Mapping[str, Rule]:
        """pattern -> rule."""
        return _rules_of(self.layout, self.side)

    def flattened(self, tree: Any) -> tuple[list[Any], TreeSpec]:
        """As `flatten_by_layout`; first tried without a search, as few trees have a list that a rule
        takes."""
        if not any(rule.kind in _NODE_KINDS for rule in self.rules.values()):
            leaves, spec = flatten(tree, _is_list)
            lists = [index for index, leaf in enumerate(leaves) if type(leaf) is list]
            if not lists or self._all_whole(lists, spec):
                return leaves, spec
        whole = self._whole_nodes(tree, ())
        return flatten(tree, (lambda node: id(node) in whole) if whole else None)

    def rule_for(self, path: LeafPath, *, container: bool = False) -> tuple[Rule | None, bool]:
        """The rule for the node at `path`, from itself or its nearest ancestor, and whether it is its own."""
        first = 2 if self.side == "inputs" else 0  # (0, position) or (1, name): an argument has no ancestor
        for depth in range(len(path), first - 1, -1):
            spelt = spellings(path[:depth], self.side, self.names)
            own = depth == len(path)
            for pattern, rule in self.rules.items():
                if is_wild(pattern) and (container or not own):
                    continue
                if match(pattern, spelt):
                    return rule, own
        return None, False

    def kept(self, key: Any, find: Callable[[], Any]) -> Any:
        """What `find` answers, asked once for each `key`."""
        known = self.layout.known
        found = known.get(key)
        if found is None:
            found = find()
            if len(known) >= _KEPT:
                known.clear()
            known[key] = found
        return found

    def _all_whole(self, lists: Sequence[int], spec: TreeSpec) -> bool:
        """Whether every list among the leaves is one that a rule takes whole."""

        def find() -> bool:
            paths = leaf_paths(spec)
            return all(self._takes_whole(paths[index], _LIST_KINDS) for index in lists)

        return bool(self.kept((spec, self.side, tuple(self.names), tuple(lists)), find))

    def _takes_whole(self, path: LeafPath, kinds: frozenset[str]) -> bool:
        rule, own = self.rule_for(path, container=True)
        return rule is not None and own and rule.kind in kinds

    def _whole_nodes(self, node: Any, path: LeafPath) -> set[int]:
        """Ids of the nodes that a rule without wildcards names and takes whole."""
        children = children_of(node)
        if children is None:
            return set()
        if len(path) > _DEEPEST:
            raise RecursionError
        if self._takes_whole(path, _LIST_KINDS if type(node) is list else _NODE_KINDS):
            return {id(node)}
        found: set[int] = set()
        for name, child in children:
            found |= self._whole_nodes(child, (*path, name))
        return found


def _rules_of(layout: Layout, side: str) -> Mapping[str, Rule]:
    return layout.inputs if side == "inputs" else layout.outputs


def _is_list(node: Any) -> bool:
    return type(node) is list
