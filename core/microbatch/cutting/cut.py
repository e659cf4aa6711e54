"""Where to cut a batch: pure integer arithmetic over counts, query_start_loc and lengths.

Invariant: every token is in exactly one slice and in order (of the batch, or of `Cut.permutation`), every
request in at least one; a request that a cut falls into is in both neighbours. No slice is empty unless
`explicit` boundaries ask for it. The input arrays are only read. Rejected: making fewer ubatches than asked
for when tokens are few, as torch's pipelining does, since whoever asked for four has buffers and barriers for
four; `most_ubatches` says how many can be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, SupportsIndex

import numpy as np

from microbatch.cutting.boundaries import even, even_count, explicit, floor, floor_count, request_aligned
from microbatch.cutting.covering import check_requests, check_rows, check_tokens, equal_requests, requests_of
from microbatch.cutting.filling import check_fillable, check_ubatches
from microbatch.cutting.multiples import in_multiples
from microbatch.cutting.packing import pack_padded, pack_tokens, trims_of
from microbatch.cutting.padding import check_padded, padded_parts, real_parts
from microbatch.cutting.shape_checks import check_shape
from microbatch.cutting.slices import BatchShape, Cut, PartsWanted, UBatchSlice, row_slices, token_slices
from microbatch.errors import ArgumentTypeError, ArgumentValueError, SliceError
from microbatch.options import checks
from microbatch.options.messages import given

SPLITTERS = ("even", "floor", "request-aligned", "packed", "explicit")
"""What `splitter` may be."""

IN_MULTIPLES = ("even", "floor")
"""Splitters that keep part sizes at a multiple."""

BALANCE = 0.48
"""SGLang's `tbo_token_distribution_threshold`."""


def cut(
    shape: BatchShape,
    *,
    splitter: str = "even",
    num_ubatches: int | None = None,
    limit: int | None = None,
    boundaries: Sequence[SupportsIndex] | None = None,
    max_ubatches: int = 65536,
    balance: float = BALANCE,
    num_tokens_padded: int | None = None,
    allow_empty: bool = False,
    multiple_of: int = 1,
) -> Cut:
    """Cut a batch into `num_ubatches` parts, or into parts of at most `limit` units.

    With both, into `num_ubatches` parts where none of them is above the limit, else into more that keep it.
    `even`: sizes differ by at most 1. `floor`: vLLM's rule, of `num_tokens_padded` if that is given.
    `request-aligned`: between requests; by count, inside one where a share would be below `balance` (0 never
    does). `packed`: requests reordered, longest first; its limit is padded cost (longest times number) where
    the batch has lengths, else tokens. `explicit`: at `boundaries`, token positions of which the two ends may
    be left out; `allow_empty` lets two be equal. An empty batch has no ubatches.
    With `multiple_of`, `even` and `floor` make parts of so many tokens or a multiple of them, all but the
    last; a limit below it goes first.

    A padded `shape` is cut with its padding, and `Cut.unpadded` has the parts without: by `even`, `floor` and
    `explicit` only.

    Raises SliceError for a batch that does not fit together or cannot be cut so, and for more than
    `max_ubatches`; ArgumentTypeError, ArgumentValueError and UnknownNameError for arguments that cannot be.
    """
    checks.choice("splitter", splitter, SPLITTERS)
    if num_tokens_padded is not None and splitter != "floor":
        raise ArgumentValueError(f"num_tokens_padded is for the splitter floor, not {splitter}; leave it out")
    offsets, lengths = check_shape(shape)
    tokens = shape.tokens_to_run
    multiple = _multiple(multiple_of, splitter)
    _check_for_padding(shape, splitter, num_tokens_padded)
    cap = checks.count("max_ubatches", max_ubatches)
    wanted = _wanted(splitter, num_ubatches, limit, boundaries, cap)
    apart = offsets is not None or shape.num_tokens != shape.num_requests
    if wanted is None:
        bounds = explicit(boundaries, tokens, allow_empty)
    elif not tokens:
        return Cut(slices=(), trims=None if lengths is None else ())
    elif splitter == "packed" and lengths is not None:
        return pack_padded(lengths, wanted)
    elif splitter == "packed" and offsets is not None:
        return pack_tokens(offsets, wanted)
    elif apart and splitter in ("packed", "request-aligned"):
        starts = shape.starts if offsets is None else offsets
        bounds = request_aligned(starts, wanted, 0.0 if splitter == "packed" else _balance(balance))
    else:
        bounds = _token_bounds(splitter, shape, wanted, num_tokens_padded, multiple)
    check_ubatches(len(bounds) - 1, cap, "boundaries" if wanted is None else f"limit {limit}")
    if shape.padded:
        return padded_parts(bounds, shape, offsets)
    if apart:
        requests = shape.num_requests
        held = equal_requests(bounds, requests) if offsets is None else requests_of(bounds, offsets)
        return Cut(slices=token_slices(bounds, held))
    trims, avoided = (None, 0) if lengths is None else trims_of(lengths, bounds)
    return Cut(slices=row_slices(bounds), trims=trims, padding_avoided=avoided)


def most_ubatches(shape: BatchShape, splitter: str, multiple_of: int = 1) -> int:
    """The most parts that `splitter` can fill: one for each row or token, for so many of them where sizes are
    multiples, or for each request with tokens where it never cuts one."""
    if splitter != "packed":
        return -(-shape.tokens_to_run // multiple_of)
    if shape.query_start_loc is None:
        return shape.num_requests
    return int(np.count_nonzero(np.diff(shape.query_start_loc)))


def validate_slices(
    slices: Sequence[UBatchSlice], shape: BatchShape, *, allow_empty: bool = False
) -> tuple[UBatchSlice, ...]:
    """The slices as a tuple if they cover the batch in order, each token once; else SliceError.

    Raises ArgumentTypeError for an entry that is not a UBatchSlice.
    """
    offsets, _ = check_shape(shape)
    if not isinstance(slices, Sequence):
        raise ArgumentTypeError(f"ubatch_slices is {given(slices)}; give a list of UBatchSlice")
    for index, part in enumerate(slices):
        if not isinstance(part, UBatchSlice):
            raise ArgumentTypeError(
                f"ubatch_slices[{index}] is {given(part)}; make it with UBatchSlice.from_range"
            )
    check_tokens(slices, shape.num_tokens, allow_empty)
    if offsets is None and shape.num_tokens == shape.num_requests:
        check_rows(slices)
    elif slices:
        check_requests(slices, shape.num_requests, offsets)
    return tuple(slices)


def validate_cut(given: Sequence[UBatchSlice] | Cut, shape: BatchShape) -> Cut:
    """What the caller gave as a cut of the batch, if it is one; else SliceError."""
    if not isinstance(given, Cut):
        return Cut(slices=validate_slices(given, shape))
    if shape.query_start_loc is not None:
        validate_slices(real_parts(given), replace(shape, num_tokens_padded=None, num_reqs_padded=None))
    check_padded(given, shape)
    return given


def _wanted(
    splitter: str, num_ubatches: int | None, limit: int | None, boundaries: object, cap: int
) -> PartsWanted | None:
    """What was asked for; None for the splitter `explicit`, which has boundaries instead."""
    if splitter == "explicit":
        if num_ubatches is not None or limit is not None:
            raise ArgumentValueError(
                "the splitter is explicit; give boundaries without num_ubatches and limit"
            )
        return None
    if boundaries is not None:
        raise ArgumentValueError(
            f"boundaries were given, but the splitter is {splitter}; pass splitter='explicit'"
        )
    if num_ubatches is None and limit is None:
        raise ArgumentValueError("neither of num_ubatches and limit was given; give one, or both")
    count = 0 if num_ubatches is None else checks.count("num_ubatches", num_ubatches)
    if count > cap:
        raise SliceError(f"num_ubatches is {count}, above the cap of {cap}; lower it, or raise max_ubatches")
    most = None if limit is None else checks.count("limit", limit)
    return PartsWanted(count=count, limit=most, max_ubatches=cap)


def _token_bounds(
    splitter: str, shape: BatchShape, wanted: PartsWanted, num_tokens_padded: int | None, multiple: int
) -> list[int]:
    """Boundaries at any token, or at any multiple of so many: vLLM's rule for `floor`, else even."""
    padded = tokens = shape.tokens_to_run
    if num_tokens_padded is not None:
        padded = checks.position("num_tokens_padded", num_tokens_padded)
    if padded < tokens:
        raise SliceError(
            f"num_tokens_padded is {padded}, below the {tokens} tokens there are; padding only adds"
        )
    item = "row" if tokens == shape.requests_to_run else "token"
    if multiple > 1 and (wanted.limit is None or wanted.limit >= multiple):
        units = f"multiple of {multiple} {item}s"
        return in_multiples(tokens, padded, wanted, multiple, partial(_bounds, splitter, item=units))
    return _bounds(splitter, tokens, padded, wanted, item=item)


def _bounds(splitter: str, tokens: int, padded: int, wanted: PartsWanted, *, item: str) -> list[int]:
    limit, count = wanted.limit, max(1, wanted.count)
    check_fillable(count, tokens, item)
    if limit is not None:
        count = floor_count(padded, limit, count) if splitter == "floor" else even_count(tokens, limit, count)
        check_ubatches(count, wanted.max_ubatches, f"limit {limit}")
        check_fillable(count, tokens, item)
    return floor(tokens, count, padded) if splitter == "floor" else even(tokens, count)


def _multiple(value: Any, splitter: str) -> int:
    multiple = checks.count("multiple_of", value)
    if multiple > 1 and splitter not in IN_MULTIPLES:
        raise ArgumentValueError(
            f"multiple_of is {multiple}, but the splitter is {splitter}, which cuts elsewhere; "
            "use even or floor"
        )
    return multiple


def _check_for_padding(shape: BatchShape, splitter: str, num_tokens_padded: int | None) -> None:
    """Raise ArgumentValueError where a padded batch is to be cut by what knows nothing of padding."""
    if not shape.padded:
        return
    if splitter in ("packed", "request-aligned"):
        raise ArgumentValueError(
            f"the batch is padded and the splitter is {splitter}; use even, floor, or explicit boundaries"
        )
    if num_tokens_padded is not None:
        raise ArgumentValueError("the batch says its padded number of tokens; leave num_tokens_padded out")


def _balance(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"balance is {given(value)}; give a share from 0 to 0.5")
    if not 0 <= value <= 0.5:
        raise ArgumentValueError(f"balance is {value}; give a share from 0 (never cut a request) to 0.5")
    return float(value)
