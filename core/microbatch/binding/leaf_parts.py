"""How one leaf is cut, and how its rows are put in another order.

Invariant: parts are views wherever the framework's own slicing gives views. A leaf whose values change in a
part (query_start_loc, seq_lens, computed_tokens) is copied first, so no other ubatch sees the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from microbatch.arrays.looks import along
from microbatch.binding.request_fields import slice_computed_tokens, slice_query_start_loc, slice_seq_lens
from microbatch.binding.rules import Rule
from microbatch.cutting.cut import BatchShape, UBatchSlice
from microbatch.extend.protocols import Backend

__all__ = ["LeafCut", "Piece", "Rows", "part_of", "permuted_leaf", "permuted_shape", "token_permutation"]

Rows: TypeAlias = Any
"""Row numbers on the host: a NumPy array of int64, which serves where the protocol asks for a sequence."""


@dataclass(frozen=True, slots=True)
class LeafCut:
    """A leaf that is cut, and how."""

    index: int
    """Its number among the leaves."""
    rule: Rule
    """Its rule, with axes counted from the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One ubatch, as each leaf is cut for it."""

    slice: UBatchSlice
    """Its tokens and requests."""
    number: int
    """Which ubatch of the step it is."""
    trim: int | None
    """The width of its longest row; None where padded axes stay as they are."""
    batch: BatchShape
    """The whole batch."""


def part_of(leaf: Any, rule: Rule, wanted: Piece) -> Any:
    """What the ubatch `wanted` is given of `leaf`, by `rule`."""
    kind, piece, trim = rule.kind, wanted.slice, wanted.trim
    if kind == "per_ubatch":
        assert rule.function is not None
        return rule.function(leaf, piece, wanted.number)
    starts = wanted.batch.query_start_loc
    if kind == "query_start_loc":
        return slice_query_start_loc(leaf, piece)
    if kind == "seq_lens" and starts is not None:
        return slice_seq_lens(leaf, starts, piece)
    if kind == "computed_tokens" and starts is not None:
        return slice_computed_tokens(leaf, starts, piece)
    part = leaf[along(rule.axis, piece.token_slice if kind == "tokens" else piece.req_slice)]
    if trim is not None and rule.trim is not None:
        part = part[along(rule.trim, slice(0, trim))]
    return part


def permuted_leaf(leaf: Any, rule: Rule, order: Rows, token_order: Rows, backend: Backend) -> Any:
    """`leaf` with its requests in `order` (new position -> old), as a copy."""
    if rule.kind == "per_ubatch":
        return leaf
    if rule.kind == "query_start_loc":
        fresh = backend.take(leaf, range(len(order) + 1), 0)
        fresh[1:] = backend.take(leaf[1:] - leaf[:-1], order, 0).cumsum(0)
        return fresh
    indices = token_order if rule.kind == "tokens" else order
    if isinstance(leaf, list):
        return [leaf[index] for index in indices.tolist()]
    return backend.take(leaf, indices, rule.axis)


def token_permutation(shape: BatchShape, order: Rows) -> Rows:
    """The tokens of the requests in `order`; `order` itself where each row is its own request."""
    starts = shape.query_start_loc
    if len(order) == 0 or (starts is None and shape.num_tokens == shape.num_requests):
        return order
    if starts is None:  # requests are taken as equally long
        starts = np.arange(shape.num_requests + 1) * shape.num_tokens // shape.num_requests
    bounds = starts.tolist()
    return np.concatenate([np.arange(bounds[request], bounds[request + 1]) for request in order.tolist()])


def permuted_shape(shape: BatchShape, order: Rows) -> BatchShape:
    """`shape` with its requests in `order`."""
    starts, lengths = shape.query_start_loc, shape.lengths
    if starts is not None:
        counts = np.diff(starts)[order]
        starts = np.concatenate([np.zeros(1, counts.dtype), np.cumsum(counts)])
    return BatchShape(
        num_tokens=shape.num_tokens,
        num_requests=shape.num_requests,
        query_start_loc=starts,
        lengths=None if lengths is None else lengths[order],
    )
