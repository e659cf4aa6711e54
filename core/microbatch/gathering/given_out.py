"""The caller's own place for the result: arrays, a tree of them, or a function that makes them.

Invariant: all that can be known is checked before a row is written, and what depends on `out` and the inputs
alone before the function is called. The caller's arrays are filled in place; one that no rows go to is
refused, never left as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbatch.arrays.looks import is_shaped, kind_of
from microbatch.arrays.trees import TreeSpec, leaf_paths, output_name
from microbatch.binding.paths import flatten_by_layout
from microbatch.binding.rules import Layout
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.gathering.given_leaf import GivenLeaf, SharedByLeaves
from microbatch.gathering.joined_sink import JoinedSink
from microbatch.gathering.kept_sinks import ConstantSink, KeptSink
from microbatch.gathering.out_checks import check_array
from microbatch.gathering.row_sink import RowsSink, Sink


class Destination:
    """What the caller passed as `out`; raises ArgumentTypeError or ArgumentValueError for what cannot be."""

    def __init__(self, out: Any, layout: Layout | None, around: SharedByLeaves) -> None:
        self.out = out
        self._around = around
        self._spec: TreeSpec | None = None
        self._leaves: list[GivenLeaf] = []
        if not callable(out):
            leaves, self._spec = flatten_by_layout(out, layout, "outputs", ())
            names = [_out_name(output_name(path)) for path in leaf_paths(self._spec)]
            self._leaves = [GivenLeaf(leaf, name, around) for leaf, name in zip(leaves, names, strict=True)]
            for leaf in self._leaves:
                leaf.check()

    def each(self, spec: TreeSpec | None, names: Sequence[str]) -> list[GivenLeaf]:
        """Where the rows of each output leaf go; `spec` is None where the output is one array."""
        if self._spec is None:
            return [GivenLeaf(self.out, _out_name(name), self._around) for name in names]
        if spec is None and not is_shaped(self.out):
            kind = type(self.out).__name__
            raise ArgumentTypeError(
                f"out is a {kind} but the output is one array; pass an array of the result's shape"
            )
        if spec is not None and self._spec != spec:
            raise ArgumentValueError(
                "out has another structure than the output; pass one array (or None for a constant) per "
                "output leaf"
            )
        return self._leaves

    def check(self, sinks: Sequence[Sink], parts: Sequence[Any], names: Sequence[str]) -> None:
        """Check, before anything is written, that each array fits its output leaf."""
        for leaf, sink, part, name in zip(self._leaves, sinks, parts, names, strict=bool(self._leaves)):
            if callable(leaf.leaf):
                continue
            if isinstance(sink, RowsSink):
                check_array(leaf.leaf, sink.shape, part, leaf.name)
            elif leaf.leaf is not None and isinstance(sink, (ConstantSink, KeptSink, JoinedSink)):
                raise ArgumentValueError(
                    f"{leaf.name} is {kind_of(leaf.leaf)} but {name} has no rows that go to an array;"
                    f" {'call without out=' if leaf.name == 'out' else 'pass None in its place'}"
                )

    def holds(self, leaves: Sequence[Any]) -> bool:
        """Whether the result is all in the caller's own arrays."""
        given = self._leaves
        return len(given) == len(leaves) > 0 and all(a.leaf is b for a, b in zip(given, leaves, strict=True))


def _out_name(output: str) -> str:
    return "out" + output.removeprefix("output")
