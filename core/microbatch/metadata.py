"""The fields of a step as one ubatch sees them: rebased offsets, lengths, computed tokens, and model inputs.

Invariant: the numbers are those that attention would see if the ubatches were steps of their own, one after
the other (vLLM's rules). A field whose numbers change is copied; every other part is a view, never written.

Rejected: shortening the sequences of all requests by what is left of them in the batch, which subtracts twice
for a request that began in an earlier ubatch; and keeping the computed tokens of a request that goes on from
an earlier ubatch, which gave vLLM 24 where 28 is right.

Arrays are NumPy, torch, CuPy or anything else that slices, subtracts and clips. `query_start_loc` is read
entry by entry where one number is needed: give it on the host, or each entry costs a synchronisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from microbatch.binding.request_fields import slice_computed_tokens, slice_query_start_loc, slice_seq_lens
from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import SliceError
from microbatch.turns.context import UBatchContext


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UbatchMetadata:
    """What one ubatch is called with; fields that the step lacks are None, counts 0. Equal only to itself."""

    context: UBatchContext
    """The ubatch."""
    input_ids: Any = None
    """Token ids, by token."""
    positions: Any = None
    """Positions, by token along the last axis: [tokens], or [axes, tokens] for several axes (M-RoPE)."""
    inputs_embeds: Any = None
    """Embeddings, by token: [tokens, width]."""
    intermediate_tensors: Any = None
    """What an earlier pipeline stage made, each tensor by token."""
    num_tokens: int = 0
    """Tokens of the ubatch, with padding."""
    num_real_tokens: int = 0
    """Tokens of it that are no padding, the first ones."""
    num_reqs: int = 0
    """Requests that have a token in the ubatch."""
    query_start_loc: Any = None
    """Cumulative tokens per request from 0 to `num_tokens`, length num_reqs + 1."""
    seq_lens: Any = None
    """Length of each request's sequence after this ubatch."""
    num_computed_tokens: Any = None
    """Tokens of each request that were computed before this ubatch, in earlier steps or earlier ubatches."""
    max_query_len: int = 0
    """Most tokens of one request in the ubatch; the whole batch's where it has none (dummy runs)."""
    max_seq_len: int = 0
    """Longest sequence; not below the whole batch's, which may be what a graph was captured with."""
    token_slice: slice = field(default_factory=partial(slice, 0, 0))
    """Range of tokens in the batch."""
    req_slice: slice = field(default_factory=partial(slice, 0, 0))
    """Range of requests in the batch."""


def query_start_loc_from(lengths: ArrayLike, dtype: DTypeLike = np.int64) -> NDArray[Any]:
    """Cumulative tokens per request, from 0; raises SliceError if the total does not fit `dtype`."""
    counts = np.asarray(lengths)
    total = int(counts.sum(dtype=np.int64))
    if counts.size and counts.min() < 0:
        index = int(counts.argmin())
        raise SliceError(f"lengths[{index}] is {counts[index]}; a length is 0 or more")
    offsets: NDArray[Any] = np.zeros(len(counts) + 1, dtype)
    if total > np.iinfo(offsets.dtype).max:
        raise SliceError(f"a total of {total:,} tokens does not fit {offsets.dtype} offsets; use int64")
    np.cumsum(counts, out=offsets[1:])
    return offsets


def slice_positions(positions: Any, part: UBatchSlice) -> Any:
    """Positions of the part's tokens: along the only axis, or the second of two."""
    return positions[:, part.token_slice] if positions.ndim == 2 else positions[part.token_slice]


def slice_tensors(tensors: Any, part: UBatchSlice) -> Any:
    """The part's rows of each tensor in a mapping; all else (vLLM's IntermediateTensors) slices itself."""
    if tensors is None:
        return None
    if isinstance(tensors, Mapping):
        return {name: tensor[part.token_slice] for name, tensor in tensors.items()}
    return tensors[part.token_slice]


def longest(values: Any) -> int:
    """The largest entry as an int; 0 if there is none."""
    return int(values.max()) if len(values) else 0


def make_ubatch_metadata(
    context: UBatchContext,
    *,
    input_ids: Any = None,
    positions: Any = None,
    inputs_embeds: Any = None,
    intermediate_tensors: Any = None,
    query_start_loc: Any = None,
    seq_lens: Any = None,
    num_computed_tokens: Any = None,
    max_query_len: int = 0,
    max_seq_len: int = 0,
) -> UbatchMetadata:
    """The part of a step's fields that belongs to `context.slice_info`; None stays None.

    `max_query_len` and `max_seq_len` are the whole batch's. Raises SliceError where `query_start_loc` does
    not fit the part, or is missing though `seq_lens` or `num_computed_tokens` are given: for a request that
    was cut, both depend on it.
    """
    part = context.slice_info
    tokens = part.token_slice
    offsets, lengths, computed = _request_fields(part, query_start_loc, seq_lens, num_computed_tokens)
    return UbatchMetadata(
        context=context,
        input_ids=None if input_ids is None else input_ids[tokens],
        positions=None if positions is None else slice_positions(positions, part),
        inputs_embeds=None if inputs_embeds is None else inputs_embeds[tokens],
        intermediate_tensors=slice_tensors(intermediate_tensors, part),
        num_tokens=part.num_tokens,
        num_real_tokens=part.num_tokens if context.num_real_tokens is None else context.num_real_tokens,
        num_reqs=part.num_reqs,
        query_start_loc=offsets,
        seq_lens=lengths,
        num_computed_tokens=computed,
        max_query_len=(0 if offsets is None else longest(offsets[1:] - offsets[:-1])) or max_query_len,
        max_seq_len=max(0 if lengths is None else longest(lengths), max_seq_len),
        token_slice=tokens,
        req_slice=part.req_slice,
    )


def _request_fields(
    part: UBatchSlice, query_start_loc: Any, seq_lens: Any, computed: Any
) -> tuple[Any, Any, Any]:
    """The part's `query_start_loc`, `seq_lens` and computed tokens."""
    if query_start_loc is None:
        for name, value in (("seq_lens", seq_lens), ("num_computed_tokens", computed)):
            if value is not None:
                raise SliceError(
                    f"{name} is given without query_start_loc; pass it too, a cut request depends on it"
                )
        return None, None, None
    return (
        slice_query_start_loc(query_start_loc, part),
        None if seq_lens is None else slice_seq_lens(seq_lens, query_start_loc, part),
        None if computed is None else slice_computed_tokens(computed, query_start_loc, part),
    )
