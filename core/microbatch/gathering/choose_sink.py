"""Which sink each output leaf gets: by its declared rule, else by its size.

Invariant: an output array is never put together by guess: its leading size in every ubatch is that ubatch's
number of tokens, or of requests, or it is an error that names it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from microbatch.arrays.looks import is_array, is_shaped, kind_of, on_another_device, size_of
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import has_rows, rows_of
from microbatch.binding.batch import Batch
from microbatch.binding.rules import TOKENS, Rule
from microbatch.cutting.slices import Cut
from microbatch.errors import OutputMismatchError
from microbatch.extend.device import Owners
from microbatch.extend.protocols import Backend, Rows
from microbatch.gathering.given_leaf import GivenLeaf
from microbatch.gathering.joined_sink import TEXTS, ArrayRows, JoinedSink, Joiner
from microbatch.gathering.kept_sinks import (
    ConstantSink,
    DoubtfulSink,
    KeptSink,
    MakeRows,
    PaddedSink,
)
from microbatch.gathering.result_memory import from_caller
from microbatch.gathering.row_places import RowPlaces, request_places, token_places
from microbatch.gathering.row_sink import MakeRoom, OutputLeaf, RowsSink, Sink, no_row_each


def weights_of(cut: Cut) -> tuple[int, ...]:
    """Real tokens of each part, 0 for one that is padding alone; where all are, what they hold."""
    real = cut.real_tokens
    return real if any(real) else tuple([piece.num_tokens for piece in cut.slices])


class Sinks:
    """Makes the sinks of one step; made in the thread and on the stream of the caller."""

    def __init__(
        self,
        batch: Batch,
        cut: Cut,
        backend: Backend,
        make_room: MakeRoom,
        *,
        nested: bool = False,
        proven: bool = False,
    ) -> None:
        """`proven` says that the rules were shown by an experiment, which knows nothing of trimming."""
        self._make_room = make_room
        self._proven = proven
        self._shape = batch.shape
        self._width = batch.width
        self._axis = batch.other_axis
        self._cut = cut
        self._backend = backend
        self._owners = batch.owners or Owners(backend)
        self._empty = from_caller(backend) if backend.asynchronous else backend.empty
        self._nested = nested

    def make(
        self, value: Any, index: int, declared: tuple[Rule | None, bool], name: str, given: GivenLeaf | None
    ) -> Sink:
        """The sink for a leaf as ubatch `index` returned it; raises OutputMismatchError if it fits nothing.

        Messages call the leaf `name`; `given` is the caller's own place for it.
        """
        rule, own = declared
        plain = type(value) is np.ndarray  # the commonest: joined by nothing, and every backend's own
        rows = None if plain else self._rows_of(value, given)
        backend = self._backend if plain or rows is not None else self._backend_of(value, name)
        allocate = self._empty if backend is self._backend else backend.empty
        joins = given is None and not plain and self._owners.joins(backend)
        leaf = OutputLeaf(name, backend, given or allocate, self._make_room, given, joins)
        if (
            self._proven
            and rule is TOKENS
            and rows is None
            and hasattr(value, "shape")
            and given is None
            and self._cut.trims is None
        ):
            return self._maker(0, "tokens", leaf)(value, index)
        rowless = rows is None and (not is_shaped(value) or len(value.shape) == 0)
        if rule is None:
            constant = rowless or is_row_list(value) or (given is None and self._is_result(value, index))
            return ConstantSink(name) if constant else self._rows(value, index, leaf)
        if rule.kind in ("reduce", "collect"):
            return KeptSink(name, rule, partial(weights_of, self._cut), nested=self._nested)
        if rule.kind == "replicate":
            return ConstantSink(name)
        if rows is not None:
            return JoinedSink(name, self._places(rule.kind), rows, value, index)
        if not rowless:
            return self._declared(value, index, rule, leaf)
        if own and value is not None:
            raise OutputMismatchError(
                f"{name} is {kind_of(value)} in ubatch {index} and has no rows to be {rule}; "
                "declare it replicate(), reduce(fn) or collect()"
            )
        return ConstantSink(name)

    def _rows_of(self, value: Any, given: GivenLeaf | None) -> Rows | None:
        """What joins it, where it is no array; into a place of the caller's a column goes as an array."""
        return None if given is not None and is_shaped(value) else rows_of(value)

    def _backend_of(self, value: Any, name: str) -> Backend:
        """What makes the result of this output: the step's backend, or that of the output's framework.

        Raises OutputMismatchError for an output on a device that the step does not wait for.
        """
        if not is_array(value):
            return self._backend
        backend = self._owners.of(value)
        if backend is not self._backend and backend.asynchronous:
            raise OutputMismatchError(f"{name} is {on_another_device(value, self._backend)}")
        return backend

    def _is_result(self, value: Any, index: int) -> bool:
        """Whether an array without a row per row is the result: where one part is the whole batch."""
        piece = self._cut.slices[index]
        some = piece.num_tokens < self._shape.tokens_to_run or piece.num_reqs < self._shape.requests_to_run
        if some or self._nested or self._cut.trims is not None:
            return False
        return bool(self._axis) or size_of(value) not in (piece.num_tokens, piece.num_reqs)

    def _rows(self, value: Any, index: int, leaf: OutputLeaf) -> Sink:
        """The sink for an array that no rule names: its leading size says what its rows are."""
        if self._axis:
            raise OutputMismatchError(
                f"inputs are cut along axis {self._axis}, so which axis of {leaf.name} has their rows cannot "
                f"be told; declare the output, such as tokens({self._axis}), replicate(), reduce(fn) or "
                "collect()"
            )
        if self._cut.trims is not None and not has_rows(value):
            self._check_trimmed(value, index, leaf.name)
        piece, size, shape = self._cut.slices[index], size_of(value), self._shape
        assert size is not None, "asked for what has rows only"
        tokens = piece.token_slice.stop - piece.token_slice.start
        apart = shape.query_start_loc is not None or shape.num_tokens != shape.num_requests
        if apart and size == tokens == piece.num_reqs and not self._one_token_each():
            choices = [(self._places(unit), self._maker(0, unit, leaf)) for unit in ("tokens", "requests")]
            return DoubtfulSink(leaf.name, choices)
        if size == tokens or (apart and size == piece.num_reqs):
            return self._maker(0, "tokens" if size == tokens else "requests", leaf)(value, index)
        counts = f"{tokens} tokens and {piece.num_reqs} requests" if apart else f"{tokens}"
        raise no_row_each(leaf.name, index, size, counts)

    def _one_token_each(self) -> bool:
        """Whether every request is one token, as in a batch that decodes, so that both are the same rows."""
        starts = self._shape.query_start_loc
        return (
            starts is not None
            and len(starts) == self._shape.num_tokens + 1
            and bool((np.diff(starts) == 1).all())
        )

    def _places(self, unit: str) -> RowPlaces:
        """Where tokens or requests go; worked out once for a cut, which steps that are alike share."""
        known: RowPlaces | None = self._cut.known.get(unit)
        if known is None:
            find = token_places if unit == "tokens" else request_places
            known = self._cut.known[unit] = find(self._shape, self._cut)
        return known

    def _declared(self, value: Any, index: int, rule: Rule, leaf: OutputLeaf) -> Sink:
        axes = len(value.shape)
        for what, axis in (("axis", rule.axis), ("trim", rule.trim or 0)):
            if not -axes <= axis < axes:
                raise OutputMismatchError(
                    f"{leaf.name} has {axes} dimensions in ubatch {index}, so {what}={axis} does not exist; "
                    "correct its rule"
                )
        axis = rule.axis % axes
        make = self._maker(axis, rule.kind, leaf)
        if rule.trim is None or self._cut.trims is None:
            if axis == 0 and self._proven:
                self._check_trimmed(value, index, leaf.name)
            return make(value, index)
        return PaddedSink(leaf, (rule.trim % axes, self._width), make)

    def _maker(self, axis: int, unit: str, leaf: OutputLeaf) -> MakeRows:
        """Makes the sink of rows once it is known what they look like."""
        places = self._cut.known.get(unit) or self._places(unit)

        def make(part: Any, first: int) -> Sink:
            joiner = self._joiner(part, axis, leaf)
            if joiner is None:
                return RowsSink(part, first, axis, places, leaf)
            return JoinedSink(leaf.name, places, joiner, part, first)

        return make

    def _joiner(self, part: Any, axis: int, leaf: OutputLeaf) -> Joiner | None:
        """What joins rows that cannot be written into a result; None where they can."""
        plain = type(part) is np.ndarray
        rows = None if plain else self._rows_of(part, leaf.given)
        if rows is not None:
            return rows
        joins = leaf.joins or (leaf.given is None and plain and part.dtype.kind in TEXTS)
        return ArrayRows(leaf.backend, axis) if joins else None

    def _check_trimmed(self, value: Any, index: int, name: str) -> None:
        """With one width for all parts nothing else would tell a trimmed output from a whole one."""
        trims, width = self._cut.trims, self._width
        if trims is None or width is None or trims[index] == width or len(set(trims)) > 1:
            return
        if trims[index] in value.shape[1:]:
            axis = 1 + list(value.shape[1:]).index(trims[index])
            raise OutputMismatchError(
                f"axis {axis} of {name} is {trims[index]}, which is also the width its padded input was "
                f"trimmed to (from {width}); declare the output tokens(trim={axis}), or tokens() if that "
                "axis is not padded"
            )
