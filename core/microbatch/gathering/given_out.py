"""The caller's own place for the result: arrays, a tree of them, or a function that makes them.

Invariant: all that can be known is checked before a row is written; the caller's arrays are filled in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbatch.arrays.looks import dtype_name, is_array
from microbatch.arrays.trees import TreeSpec
from microbatch.binding.paths import flatten_by_layout
from microbatch.binding.rules import Layout
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.gathering.result_memory import Allocate
from microbatch.gathering.row_sink import RowsSink, Sink


class Destination:
    """What the caller passed as `out`."""

    def __init__(self, out: Any, layout: Layout | None) -> None:
        self.out = out
        self._layout = layout
        self._leaves: list[Any] = []

    def each(self, spec: TreeSpec | None, names: Sequence[str]) -> list[Allocate | None]:
        """Where the rows of each output leaf go; `spec` is None where the output is one array."""
        if callable(self.out):
            return [self._allocator(self.out, name) for name in names]
        self._leaves = self._given(spec)
        return [self._allocator(leaf, name) for leaf, name in zip(self._leaves, names, strict=True)]

    def _given(self, spec: TreeSpec | None) -> list[Any]:
        """The caller's arrays, one for each output leaf."""
        if spec is None and not is_array(self.out):
            kind = type(self.out).__name__
            raise ArgumentTypeError(
                f"out is a {kind} but the output is one array; pass an array of the result's shape"
            )
        if spec is None:
            return [self.out]
        leaves, given = flatten_by_layout(self.out, self._layout, "outputs", ())
        if given != spec:
            raise ArgumentValueError(
                "out has another structure than the output; pass one array (or None for a constant) per "
                "output leaf"
            )
        return leaves

    def check(self, sinks: Sequence[Sink], parts: Sequence[Any], names: Sequence[str]) -> None:
        """Check shapes and dtypes before anything is written."""
        for leaf, sink, part, name in zip(self._leaves, sinks, parts, names, strict=bool(self._leaves)):
            if isinstance(sink, RowsSink) and not callable(leaf):
                check_array(leaf, sink.shape, part, name)

    def holds(self, leaves: Sequence[Any]) -> bool:
        """Whether the result is all in the caller's own arrays."""
        given = self._leaves
        return len(given) == len(leaves) > 0 and all(a is b for a, b in zip(given, leaves, strict=True))

    def _allocator(self, leaf: Any, name: str) -> Allocate:
        def allocate(shape: tuple[int, ...], like: Any) -> Any:
            array = leaf(shape, like) if callable(leaf) else leaf
            check_array(array, shape, like, name)
            return array

        return allocate


def check_array(array: Any, shape: tuple[int, ...], like: Any, output: str) -> None:
    """Refuse an array that cannot take a result of `shape` and the dtype of `like`."""
    name = "out" + output.removeprefix("output")
    if not is_array(array):
        kind = type(array).__name__
        raise ArgumentTypeError(
            f"{name} is a {kind}; pass an array of shape {shape} and dtype {dtype_name(like)}"
        )
    if tuple(array.shape) != tuple(shape):
        raise ArgumentValueError(
            f"{name} has shape {tuple(array.shape)} but the result has {tuple(shape)}; pass that shape"
        )
    if array.dtype != like.dtype and dtype_name(array) != dtype_name(like):
        raise ArgumentValueError(
            f"{name} has dtype {dtype_name(array)} but the result has {dtype_name(like)}; pass that dtype"
        )
    flags = getattr(array, "flags", None)
    if flags is not None and getattr(flags, "writeable", True) is False:
        raise ArgumentValueError(f"{name} is read-only; open it for writing")
