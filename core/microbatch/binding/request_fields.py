"""The numbers of a part's requests: rebased offsets, lengths, computed tokens (vLLM's rules).

Invariant: the numbers are those that attention would have seen had the ubatches been steps of their own, one
after the other. What changes is copied first; nothing of the caller's is written to. Rejected: shortening the
sequences of all requests by what is left of them in the batch, which subtracts twice for a request that began
in an earlier ubatch.

`query_start_loc` is read entry by entry where one number is needed: give it on the host, or each entry costs
a synchronisation.
"""

from __future__ import annotations

from typing import Any

from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import SliceError


def slice_query_start_loc(query_start_loc: Any, part: UBatchSlice) -> Any:
    """The offsets of the part's requests, from 0 and at most its number of tokens; same dtype, new array."""
    start = part.token_slice.start
    offsets = query_start_loc[part.req_slice.start : part.req_slice.stop + 1]
    if len(offsets) != part.num_reqs + 1:
        raise SliceError(
            f"query_start_loc has {len(query_start_loc)} entries, too few for {part}; "
            "give one more than requests"
        )
    if int(offsets[0]) > start:
        raise SliceError(
            f"the first token of {part} comes before its first request, which starts at {int(offsets[0])}; "
            "start the requests one earlier"
        )
    return rebased(query_start_loc, part)


def rebased(query_start_loc: Any, part: UBatchSlice) -> Any:
    """The same where the offsets are known to fit the part; no value is read on the host."""
    start = part.token_slice.start
    offsets = query_start_loc[part.req_slice.start : part.req_slice.stop + 1]
    return offsets.clip(start, part.token_slice.stop) - start  # in this order: unsigned offsets never wrap


def slice_seq_lens(seq_lens: Any, query_start_loc: Any, part: UBatchSlice) -> Any:
    """The lengths of the part's requests; only the last is shorter, by its tokens after the part."""
    lengths = seq_lens[part.req_slice]
    if part.num_reqs == 0:
        return lengths
    later = int(query_start_loc[part.req_slice.stop]) - part.token_slice.stop
    if later > 0:
        lengths = _copied(lengths)
        lengths[-1] -= later
    return lengths


def slice_computed_tokens(num_computed_tokens: Any, query_start_loc: Any, part: UBatchSlice) -> Any:
    """The computed tokens of the part's requests; only the first has more, by its tokens before the part."""
    computed = num_computed_tokens[part.req_slice]
    if part.num_reqs == 0:
        return computed
    first = part.req_slice.start
    before = min(part.token_slice.start, int(query_start_loc[first + 1]))
    earlier = before - int(query_start_loc[first])
    if earlier > 0:
        computed = _copied(computed)
        computed[0] += earlier
    return computed


def _copied(array: Any) -> Any:
    return array.clone() if hasattr(array, "clone") else array.copy()
