"""What the outputs of a function were shown to be, by an experiment on a few rows.

Invariant: it holds for every part of every step of the structure that it was shown for; a part that returns
something else is an error. Made by `proof/`, followed by `gathering/`.
"""

from __future__ import annotations

from msgspec import Struct

from microbatch.arrays.trees import TreeSpec
from microbatch.binding.rules import Rule


class ProvenOutputs(Struct, frozen=True):
    """Structure and rules of the outputs."""

    spec: TreeSpec
    """The structure; a list with an entry per row is one leaf of it."""
    rules: tuple[Rule, ...]
    """One a leaf: tokens or requests along an axis, or replicate for what is equal in every part."""
