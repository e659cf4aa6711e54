"""How a layout's pattern names a leaf, and which patterns name nothing.

Invariant: a misspelt pattern is not passed over in silence, since the leaf that it was meant for is then cut
as its size says, and a weight with as many rows as the batch is cut too. Rejected: an error, because a field
that only some calls have (`token_type_ids`, a `loss`) has a rule in all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from microbatch.arrays.trees import LeafPath
from microbatch.binding.rules import Layout, Rule
from microbatch.errors import warn

__all__ = ["is_wild", "match", "spellings", "warn_of_unused"]

_WILD = "*?["
_MOST_SHOWN = 8


def spellings(path: LeafPath, side: str, names: Sequence[str]) -> list[str]:
    """All dotted paths that name a node: by position and by parameter name, or with and without `output`."""
    if side == "outputs":
        tail = ".".join(map(str, path))
        return [f"output.{tail}", tail] if path else ["output", ""]
    place, key, *rest = path
    heads = [str(key)]
    if place == 0 and key < len(names):
        heads.append(str(names[key]))
    return [".".join([head, *map(str, rest)]) for head in heads]


def match(pattern: str, spelt: Sequence[str]) -> bool:
    """Whether `pattern` names the node that is spelt so."""
    # A number names a position from the root only: "0" must not hit the first element of every inner list.
    anywhere = pattern != "" and not pattern[0].isdigit()
    return any(
        fnmatchcase(spelling, pattern) or (anywhere and fnmatchcase(spelling, f"*.{pattern}"))
        for spelling in spelt
    )


def is_wild(pattern: str) -> bool:
    """Whether it has wildcards: it then stands for whatever there is."""
    return any(sign in pattern for sign in _WILD)


def warn_of_unused(
    layout: Layout,
    paths: Sequence[LeafPath],
    found: Sequence[tuple[Rule | None, bool]],
    side: str,
    names: Sequence[str],
) -> None:
    """Warn of each pattern that names nothing at `paths` and did not before; of each once a layout.

    A parameter that the call leaves out may have a rule. Of outputs only what looks misspelt is told: a
    pattern close to a leaf without a rule.
    """
    rules = layout.inputs if side == "inputs" else layout.outputs
    unused = _unused(rules, paths, side, names)
    told = [pattern for pattern in unused if (side, pattern) not in layout.settled]
    layout.settled.update((side, pattern) for pattern in rules)
    without = sorted(
        {_field_name(path, side, names) for path, (rule, _) in zip(paths, found, strict=True) if not rule}
    )
    for pattern in told:
        close = difflib.get_close_matches(pattern.rpartition(".")[2], without, n=1, cutoff=0.6)
        if close or side == "inputs":
            warn(_warning(pattern, side, close, without), UserWarning)


def _unused(
    rules: Mapping[str, Rule], paths: Iterable[LeafPath], side: str, names: Sequence[str]
) -> list[str]:
    """Patterns that name no leaf, nothing that holds one, and no parameter that was left out."""
    first = 2 if side == "inputs" else 0
    nodes = {path[:depth] for path in paths for depth in range(first, len(path) + 1)}
    spelt = [spellings(node, side, names) for node in nodes]
    if side == "inputs":
        given = {str(name) for node in nodes for name in spellings(node[:2], side, names)}
        spelt += [[str(place), name] for place, name in enumerate(names) if name not in given]
    return [
        pattern
        for pattern in rules
        if not is_wild(pattern) and not any(match(pattern, ways) for ways in spelt)
    ]


def _field_name(path: LeafPath, side: str, names: Sequence[str]) -> str:
    """What a pattern would call the leaf: its field, or the parameter itself."""
    return spellings(path, side, names)[-1].rpartition(".")[2] or "output"


def _warning(pattern: str, side: str, close: Sequence[str], without: Sequence[str]) -> str:
    what = "argument" if side == "inputs" else "output"
    hint = f"did you mean {close[0]!r}?" if close else ""
    if not close and without:
        more = ", ..." if len(without) > _MOST_SHOWN else ""
        hint = f"without a rule are {', '.join(map(repr, without[:_MOST_SHOWN]))}{more};"
    optional = f" where it may be missing, write it with a wildcard, such as '*{pattern}'"
    return f"the layout's pattern {pattern!r} names no {what} of this call; {hint}{optional}"
