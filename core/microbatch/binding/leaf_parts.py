"""How one leaf is cut, and how its rows are put in another order.

Invariant: parts are views wherever the framework's own slicing gives views. A leaf whose values change in a
part (query_start_loc, seq_lens, computed_tokens) is copied first, so no other ubatch sees the change.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

from microbatch.arrays.looks import along
from microbatch.arrays.row_types import rows_of
from microbatch.binding.request_fields import rebased, slice_computed_tokens, slice_seq_lens
from microbatch.binding.rules import Rule
from microbatch.cutting.slices import BatchShape, UBatchSlice
from microbatch.extend.protocols import Backend

Rows: TypeAlias = Any
"""Row numbers on the host: a NumPy array of int64, which serves where the protocol asks for a sequence."""


class LeafCut(Struct, frozen=True):
    """A leaf that is cut, and how."""

    index: int
    """Its number among the leaves."""
    rule: Rule
    """Its rule, with axes counted from the first."""


def part_of(leaf: Any, rule: Rule, part: UBatchSlice, trim: int | None, shape: BatchShape) -> Any:
    """What the ubatch `part` of the batch `shape` is given of `leaf` by `rule`; `trim` as in `Batch.part`."""
    kind, starts = rule.kind, shape.query_start_loc
    if kind == "query_start_loc":
        return rebased(leaf, part)  # the batch was bound: nothing of it needs to be read again
    if kind == "seq_lens" and starts is not None:
        return slice_seq_lens(leaf, starts, part)
    if kind == "computed_tokens" and starts is not None:
        return slice_computed_tokens(leaf, starts, part)
    where = part.token_slice if kind == "tokens" else part.req_slice
    listed = rows_of(leaf)
    if listed is not None:
        return listed.take(leaf, where)
    rows = leaf[along(rule.axis, where)]
    return rows if trim is None or rule.trim is None else rows[along(rule.trim, slice(0, trim))]


def permuted_leaf(leaf: Any, rule: Rule, order: Rows, token_order: Rows, backend: Backend) -> Any:
    """`leaf` with the requests `order` (new position -> old), which may be all or some, as a copy."""
    if rule.kind == "per_ubatch":
        return leaf
    if rule.kind == "query_start_loc":
        fresh = backend.take(leaf, range(len(order) + 1), 0)
        fresh[1:] = backend.take(leaf[1:] - leaf[:-1], order, 0).cumsum(0)
        return fresh
    indices = token_order if rule.kind == "tokens" else order
    rows = rows_of(leaf)
    if rows is not None:
        return rows.take(leaf, np.asarray(indices, np.int64))
    return backend.take(leaf, indices, rule.axis)


def token_permutation(shape: BatchShape, order: Rows) -> Rows:
    """The tokens of the requests in `order`; `order` itself where each row is its own request."""
    if len(order) == 0 or (shape.query_start_loc is None and shape.num_tokens == shape.num_requests):
        return order
    bounds = shape.starts.tolist()
    return np.concatenate([np.arange(bounds[request], bounds[request + 1]) for request in order.tolist()])


def permuted_shape(shape: BatchShape, order: Rows) -> BatchShape:
    """`shape` of the requests `order`, which may be all or some."""
    starts, lengths = shape.query_start_loc, shape.lengths
    if starts is not None:
        starts = np.concatenate(([0], np.cumsum(np.diff(starts)[order])))
    return BatchShape(
        num_tokens=len(token_permutation(shape, order)),
        num_requests=len(order),
        query_start_loc=starts,
        lengths=None if lengths is None else lengths[order],
    )
