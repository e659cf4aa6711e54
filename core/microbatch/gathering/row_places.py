"""Where the rows of each ubatch go in the result.

Invariant: the ranges of all ubatches together hold every row of the result exactly once. A request that
straddles ubatches belongs to the last of them, which has seen all of its tokens. Padding comes last in what a
ubatch returns, and goes nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from microbatch.binding.leaf_parts import Rows, token_permutation
from microbatch.cutting.slices import BatchShape, Cut
from microbatch.errors import OutputMismatchError


class RowPlaces(Struct, frozen=True):
    """The rows of one unit (tokens or requests)."""

    unit: Literal["tokens", "requests"]
    """What a row is."""
    total: int
    """Rows in the result."""
    counts: Sequence[int]
    """Rows that each ubatch returns."""
    ranges: Sequence[slice]
    """Rows of the result that each ubatch writes, in the order of the cut."""
    order: Rows | None
    """Position in the cut -> row of the caller; None when they are the same."""


def token_places(shape: BatchShape, cut: Cut) -> RowPlaces:
    """Every token is in exactly one ubatch; padding goes nowhere."""
    order = (
        None if cut.permutation is None else token_permutation(shape, np.asarray(cut.permutation, np.int64))
    )
    return RowPlaces(
        unit="tokens",
        total=shape.num_tokens,
        counts=tuple([piece.num_tokens for piece in cut.slices]),
        ranges=tuple([piece.token_slice for piece in cut.real]),
        order=order,
    )


def request_places(shape: BatchShape, cut: Cut) -> RowPlaces:
    """A request in several ubatches is written by the last; OutputMismatchError for one that is in none."""
    ranges: list[slice] = []
    expected = shape.num_requests
    for piece in reversed(cut.real):
        start, stop = piece.req_slice.start, min(piece.req_slice.stop, expected)
        if stop < expected and piece.num_reqs:
            raise OutputMismatchError(
                f"request {stop} has no tokens and is in no ubatch, so it has no output; leave empty "
                "requests out"
            )
        ranges.append(slice(start, max(start, stop)))
        expected = min(expected, start) if piece.num_reqs else expected
    if expected > 0:
        raise OutputMismatchError(
            "request 0 has no tokens and is in no ubatch, so it has no output; leave empty requests out"
        )
    return RowPlaces(
        unit="requests",
        total=shape.num_requests,
        counts=tuple(piece.num_reqs for piece in cut.slices),
        ranges=tuple(reversed(ranges)),
        order=None if cut.permutation is None else np.asarray(cut.permutation, np.int64),
    )
