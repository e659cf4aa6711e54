"""Which sink each output leaf gets: by its declared rule, else by its size.

Invariant: an output array is never put together by guess: its leading size in every ubatch is that ubatch's number
of tokens, or of requests, or it is an error that names it.
"""

from __future__ import annotations

from typing import Any

from microbatch.arrays.looks import is_array, kind_of
from microbatch.binding.batch import Batch
from microbatch.binding.rules import Rule
from microbatch.cutting.cut import Cut
from microbatch.errors import OutputMismatchError
from microbatch.extend.protocols import Backend
from microbatch.gathering.kept_sinks import ConstantSink, DoubtfulSink, KeptSink, ListSink, PaddedSink
from microbatch.gathering.result_memory import Home
from microbatch.gathering.row_places import Places, request_places, token_places
from microbatch.gathering.row_sink import Allocate, RowsSink, Sink

__all__ = ["Sinks"]


class Sinks:
    """Makes the sinks of one step; made in the thread and on the stream of the caller."""

    __slots__ = ("_axis", "_backend", "_cut", "_home", "_nested", "_requests", "_shape", "_tokens", "_width")

    def __init__(self, batch: Batch, cut: Cut, backend: Backend, *, nested: bool = False) -> None:
        self._shape = batch.shape
        self._width = batch.width
        self._axis = batch.other_axis
        self._cut = cut
        self._backend = backend
        self._home = Home(backend)
        self._nested = nested
        self._tokens: Places | None = None
        self._requests: Places | None = None

    def make(
        self, leaf: Any, index: int, declared: tuple[Rule | None, bool], name: str, allocate: Allocate | None
    ) -> Sink:
        """The sink for a leaf as ubatch `index` returned it; raises OutputMismatchError if it fits nothing."""
        rule, own = declared
        if rule is None:
            return self._inferred(leaf, index, name, allocate)
        if rule.kind in ("reduce", "collect"):
            weights = [piece.num_tokens for piece in self._cut.slices]
            return KeptSink(name, rule, weights, nested=self._nested)
        if rule.kind == "replicate":
            return ConstantSink(name, len(self._cut.slices))
        if isinstance(leaf, list):
            return ListSink(name, self.places(rule.kind))
        if not is_array(leaf) or len(leaf.shape) == 0:
            if own and leaf is not None:
                raise OutputMismatchError(
                    f"{name} is {kind_of(leaf)} in ubatch {index} and has no rows to be {rule}; declare it "
                    "replicate(), reduce(fn) or collect()"
                )
            return ConstantSink(name, len(self._cut.slices))
        return self._declared(leaf, index, rule, name, allocate)

    def places(self, unit: str) -> Places:
        """Where tokens or requests go; found at the first output that needs it."""
        if unit == "tokens":
            if self._tokens is None:
                self._tokens = token_places(self._shape, self._cut)
            return self._tokens
        if self._requests is None:
            self._requests = request_places(self._shape, self._cut)
        return self._requests

    def _declared(self, leaf: Any, index: int, rule: Rule, name: str, allocate: Allocate | None) -> Sink:
        axes = len(leaf.shape)
        for what, axis in (("axis", rule.axis), ("trim", rule.trim or 0)):
            if not -axes <= axis < axes:
                raise OutputMismatchError(
                    f"{name} has {axes} dimensions in ubatch {index}, so {what}={axis} does not exist; correct its rule"
                )
        axis, places = rule.axis % axes, self.places(rule.kind)
        if rule.trim is None or self._cut.trims is None:
            return self._rows(leaf, index, axis, places, name, allocate)
        return PaddedSink(
            name,
            len(self._cut.slices),
            rule.trim % axes,
            self._width,
            self._backend,
            lambda part, first: self._rows(part, first, axis, places, name, allocate),
        )

    def _inferred(self, leaf: Any, index: int, name: str, allocate: Allocate | None) -> Sink:
        if not is_array(leaf) or len(leaf.shape) == 0:
            return ConstantSink(name, len(self._cut.slices))
        if self._axis:
            raise OutputMismatchError(
                f"inputs are cut along axis {self._axis}, so which axis of {name} has their rows cannot be told; declare "
                f"the output, such as tokens({self._axis}), replicate(), reduce(fn) or collect()"
            )
        self._check_trimmed(leaf, index, name)
        piece, size = self._cut.slices[index], leaf.shape[0]
        apart = self._shape.query_start_loc is not None or self._shape.num_tokens != self._shape.num_requests
        if apart and size == piece.num_tokens == piece.num_reqs:
            return DoubtfulSink(name, [self._choice(unit, name, allocate) for unit in ("tokens", "requests")])
        if size == piece.num_tokens:
            return self._rows(leaf, index, 0, self.places("tokens"), name, allocate)
        if apart and size == piece.num_reqs:
            return self._rows(leaf, index, 0, self.places("requests"), name, allocate)
        counts = (
            f"{piece.num_tokens} tokens and {piece.num_reqs} requests" if apart else f"{piece.num_tokens}"
        )
        raise OutputMismatchError(
            f"ubatch {index} returned {size} rows at {name}; its input had {counts}; declare the output tokens(axis) "
            "if another axis is cut, else replicate(), reduce(fn) or collect()"
        )

    def _check_trimmed(self, leaf: Any, index: int, name: str) -> None:
        """With one width for all parts nothing else would tell a trimmed output from a whole one."""
        trims, width = self._cut.trims, self._width
        if trims is None or width is None or trims[index] == width or len(set(trims)) > 1:
            return
        if trims[index] in leaf.shape[1:]:
            axis = 1 + list(leaf.shape[1:]).index(trims[index])
            raise OutputMismatchError(
                f"axis {axis} of {name} is {trims[index]}, which is also the width its padded input was trimmed to "
                f"(from {width}); declare the output tokens(trim={axis}), or tokens() if that axis is not padded"
            )

    def _choice(self, unit: str, name: str, allocate: Allocate | None) -> tuple[Places, Any]:
        places = self.places(unit)
        return places, lambda part, first: self._rows(part, first, 0, places, name, allocate)

    def _rows(
        self, leaf: Any, index: int, axis: int, places: Places, name: str, allocate: Allocate | None
    ) -> RowsSink:
        return RowsSink(leaf, index, axis, places, name, self._backend, self._home, allocate)
