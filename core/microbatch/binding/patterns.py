"""How a layout's pattern names a leaf, and which patterns name nothing.

Invariant: a misspelt pattern is not passed over in silence, since the leaf that it was meant for is then cut
as its size says, and a weight with as many rows as the batch is cut too. Rejected: an error, because a field
that only some calls have (`token_type_ids`, a `loss`) has a rule in all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from msgspec import Struct

from microbatch.arrays.trees import LeafPath
from microbatch.binding.rules import Layout, Rule
from microbatch.errors import warn

SideName: TypeAlias = Literal["inputs", "outputs"]

_WILD = "*?["
_MOST_SHOWN = 8


def spellings(path: LeafPath, side: SideName, names: Sequence[str]) -> list[str]:
    """All dotted paths that name a node: by position and by parameter name, or with and without `output`."""
    if side == "outputs":
        tail = ".".join(map(str, path))
        return [f"output.{tail}", tail] if path else ["output", ""]
    place, key, *rest = path
    heads = [key, names[key]] if place == 0 and key < len(names) else [key]
    return [".".join(map(str, [head, *rest])) for head in heads]


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


class Side(Struct, frozen=True):
    """What a layout declares for one side of a call."""

    layout: Layout
    """Whose rules they are; it keeps what was found."""
    name: SideName
    """Which side."""
    rules: Mapping[str, Rule]
    """pattern -> rule."""
    names: Sequence[str]
    """Names of the positional parameters; empty for outputs."""

    @property
    def shortest(self) -> int:
        """Levels of the shortest path: (0, position) or (1, name) for an argument, none for an output."""
        return 2 if self.name == "inputs" else 0

    def spelt(self, path: LeafPath) -> list[str]:
        """As `spellings`, on this side."""
        return spellings(path, self.name, self.names)

    def warn_of_unused(self, paths: Sequence[LeafPath], found: Sequence[tuple[Rule | None, bool]]) -> None:
        """Warn of each pattern that names nothing at `paths` and did not before; of each once a layout.

        `found` has the rule of each path. A parameter that the call leaves out may have a rule. Of outputs
        only what looks misspelt is told: a pattern close to a leaf without a rule.
        """
        settled, unused = self.layout.settled, self._unused(paths)
        told = [pattern for pattern in unused if (self.name, pattern) not in settled]
        settled.update((self.name, pattern) for pattern in self.rules)
        ruleless = [path for path, (rule, _) in zip(paths, found, strict=True) if rule is None]
        # what a pattern would call each leaf: its field, or the parameter itself
        fields = sorted({self.spelt(path)[-1].rpartition(".")[2] or "output" for path in ruleless})
        for pattern in told:
            close = difflib.get_close_matches(pattern.rpartition(".")[2], fields, n=1, cutoff=0.6)
            if close or self.name == "inputs":
                warn(self._warning(pattern, close, fields), UserWarning)

    def _unused(self, paths: Sequence[LeafPath]) -> list[str]:
        """Patterns that name no leaf, nothing that holds one, and no parameter that was left out."""
        nodes = {path[:depth] for path in paths for depth in range(self.shortest, len(path) + 1)}
        spelt = [self.spelt(node) for node in nodes]
        if self.name == "inputs":
            given = {name for node in nodes for name in self.spelt(node[:2])}
            spelt += [[str(place), name] for place, name in enumerate(self.names) if name not in given]
        return [
            pattern
            for pattern in self.rules
            if not is_wild(pattern) and not any(match(pattern, ways) for ways in spelt)
        ]

    def _warning(self, pattern: str, close: Sequence[str], fields: Sequence[str]) -> str:
        what = "argument" if self.name == "inputs" else "output"
        hint = f"did you mean {close[0]!r}?" if close else ""
        if not close and fields:
            more = ", ..." if len(fields) > _MOST_SHOWN else ""
            hint = f"without a rule are {', '.join(map(repr, fields[:_MOST_SHOWN]))}{more};"
        optional = f" where it may be missing, write it with a wildcard, such as '*{pattern}'"
        return f"the layout's pattern {pattern!r} names no {what} of this call; {hint}{optional}"
