"""The leaves of the arguments of one call, by number, and how a message or a pattern calls each.

Invariant: nothing of the arrays is read here; a name is made only when a message needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from microbatch.arrays.trees import TreeSpec, leaf_paths
from microbatch.binding.paths import input_name
from microbatch.binding.patterns import match, spellings


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLeaves:
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
