"""A batch of which parts reach beyond the real rows: the caller has padded its arrays, or has only real rows.

Invariant: a part has as many rows of every leaf as its slice says. Rows that an array lacks repeat its last
one (zeros could make NaN); where there is none, they are zeros. Offsets that are missing repeat the last, so
padded requests have no tokens; lengths and computed tokens that are missing are 0. Nothing of the caller's is
written, and parts without padding are views as ever. Rejected: to pad whole arrays before the step, which
copies all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from microbatch.arrays.looks import along
from microbatch.arrays.row_types import rows_of
from microbatch.arrays.trees import TreeSpec
from microbatch.binding.batch import Batch
from microbatch.binding.leaf_parts import LeafCut, part_of
from microbatch.binding.rules import Rule
from microbatch.cutting.slices import BatchShape, UBatchSlice
from microbatch.extend.protocols import Backend

COUNTS = frozenset({"query_start_loc", "seq_lens", "computed_tokens"})
"""Rules of leaves whose values are changed in a part."""


class PaddedBatch(Batch):
    """`shape` has the real counts, and those that the step runs."""

    __slots__ = ("_backend", "_padded_shape")

    def __init__(
        self,
        shape: BatchShape,
        leaves: Sequence[Any],
        cuts: tuple[LeafCut, ...],
        spec: TreeSpec,
        backend: Backend,
    ) -> None:
        super().__init__(shape, leaves, cuts, spec)
        self._backend = backend
        starts = shape.query_start_loc
        missing = shape.requests_to_run - shape.num_requests
        if starts is not None:
            starts = np.concatenate((starts, np.repeat(starts[-1:], missing)))
        self._padded_shape = replace(shape, query_start_loc=starts)

    def part(
        self, slice: UBatchSlice, trim: int | None = None, ubatch_id: int = 0
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As in `Batch`; nothing is trimmed, as a padded batch has no lengths."""
        assert self._spec is not None
        leaves = list(self._leaves)
        for cut in self._cuts:
            leaf, rule = leaves[cut.index], cut.rule
            if rule.function is not None:
                leaves[cut.index] = rule.function(leaf, slice, ubatch_id)  # per_ubatch
            else:
                leaves[cut.index] = self._part_of(leaf, rule, slice)
        return self._spec.unflatten(leaves)  # type: ignore[return-value]  # the structure of (args, kwargs)

    def with_leaves(self, leaves: Sequence[Any]) -> PaddedBatch:
        """As in `Batch`."""
        assert self._spec is not None
        batch = self._of_kind(leaves, self._cuts, self._spec)
        batch.owners = self.owners
        return batch

    def with_padding_as_rows(self) -> PaddedBatch:
        """The same batch with its padding taken for rows; parts are given the same."""
        assert self._spec is not None
        shape = BatchShape(
            num_tokens=self.shape.tokens_to_run,
            num_requests=self.shape.requests_to_run,
            query_start_loc=self._padded_shape.query_start_loc,
        )
        batch = PaddedBatch(shape, self._leaves, self._cuts, self._spec, self._backend)
        batch.owners = self.owners
        return batch

    def _of_kind(self, leaves: Sequence[Any], cuts: tuple[LeafCut, ...], spec: TreeSpec) -> PaddedBatch:
        return PaddedBatch(self.shape, leaves, cuts, spec, self._backend)

    def _part_of(self, leaf: Any, rule: Rule, part: UBatchSlice) -> Any:
        """The rows of `part`, some of which the leaf may lack."""
        if rule.kind in COUNTS:
            entries = self.shape.requests_to_run + (rule.kind == "query_start_loc")
            return part_of(self._lengthened(leaf, entries, rule), rule, part, None, self._padded_shape)
        where = part.token_slice if rule.kind == "tokens" else part.req_slice
        listed = rows_of(leaf)
        rows = int(leaf.shape[rule.axis]) if listed is None else listed.length(leaf)
        if where.stop <= rows:
            return part_of(leaf, rule, part, None, self._padded_shape)
        taken = [min(index, rows - 1) for index in range(where.start, where.stop)]
        if listed is not None:
            return listed.take(leaf, np.array(taken, np.int64) if rows else slice(0, 0))
        if not rows:
            return self._blank(leaf, len(taken), rule.axis)
        return self._owner(leaf, self._backend).take(leaf, taken, rule.axis)

    def _lengthened(self, leaf: Any, entries: int, rule: Rule) -> Any:
        """`leaf` with at least so many entries."""
        rows = int(leaf.shape[0])
        if rows >= entries:
            return leaf
        owner = self._owner(leaf, self._backend)
        if rule.kind == "query_start_loc":
            return owner.take(leaf, [min(index, rows - 1) for index in range(entries)], 0)
        return owner.concatenate((leaf, self._blank(leaf, entries - rows, 0)), 0)

    def _blank(self, leaf: Any, rows: int, axis: int) -> Any:
        """Zeros like `leaf`, in so many rows."""
        shape = tuple(leaf.shape)
        made = self._owner(leaf, self._backend).empty((*shape[:axis], rows, *shape[axis + 1 :]), leaf)
        made[along(0, slice(None))] = 0
        return made
