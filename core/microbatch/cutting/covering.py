"""Which requests a range of tokens holds, and whether given slices cover a batch.

Invariant: nothing is clamped, wrapped or cut short on the quiet, as Python's own slicing would do: each token
is in exactly one ubatch, and every request, one without tokens too, is in at least one. vLLM's rule leaves a
request without tokens out where a cut, or an end of the batch, falls on it; here it goes with the ubatch
before the cut, so that its rows are not lost. Everywhere else the ranges are vLLM's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from microbatch.cutting.slices import BatchShape, UBatchSlice
from microbatch.errors import ArgumentTypeError, SliceError
from microbatch.options.messages import given


def requests_of(bounds: Sequence[int], offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The requests of each token range between neighbouring `bounds`; `offsets` is query_start_loc.

    First: the last request whose offset is not after the start. End: the first whose offset is not before the
    end. A range without tokens that lies inside a request has that request, with none of its tokens.
    """
    edges = np.asarray(bounds)
    starts = np.searchsorted(offsets, edges[:-1], side="right") - 1
    stops = np.searchsorted(offsets, edges[1:], side="left")
    if len(starts):
        # a request without tokens on a cut goes with the range before it; one at either end, with that end
        starts[0] = 0
        stops[:-1] = np.maximum(stops[:-1], starts[1:])
        stops[-1] = len(offsets) - 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def equal_requests(bounds: Sequence[int], num_requests: int) -> list[tuple[int, int]]:
    """As `requests_of` for equally long requests, without the array of their offsets: there may be 10**12.

    Request i starts at i * tokens // requests. So a range holds the requests from the last i that starts at
    or before `start`, (start + 1) * requests - 1 over tokens rounded down, to the first that starts at or
    after `stop`, stop * requests over tokens rounded up.
    """
    tokens = bounds[-1]
    return [
        (((start + 1) * num_requests - 1) // tokens, -(-stop * num_requests // tokens))
        for start, stop in pairwise(bounds)
    ]


def check_tokens(slices: Sequence[UBatchSlice], num_tokens: int, allow_empty: bool) -> None:
    """Raise SliceError unless the token ranges follow each other from 0 to `num_tokens`."""
    _check_order(slices)
    end = 0
    for index, part in enumerate(slices):
        start, stop = part.token_slice.start, part.token_slice.stop
        if stop > num_tokens:
            raise SliceError(f"slice {index} ends at {stop} but there are {num_tokens} tokens; end it there")
        if start < end:
            raise SliceError(
                f"slices {index - 1} and {index} overlap on tokens {start}:{min(end, stop)}; "
                "give each token to one"
            )
        if start > end:
            raise SliceError(f"tokens {end}:{start} belong to no slice; start slice {index} at {end}")
        if part.is_empty and not allow_empty:
            raise SliceError(f"ubatch {index} is empty ({part}); leave it out")
        end = stop
    if end < num_tokens:
        raise SliceError(
            f"tokens {end}:{num_tokens} belong to no slice; the last slice must end at {num_tokens}"
        )


def check_within(part: UBatchSlice, shape: BatchShape) -> None:
    """Raise SliceError for a slice that ends beyond the batch, ArgumentTypeError for what is no slice."""
    if not isinstance(part, UBatchSlice):
        raise ArgumentTypeError(f"slice_info is {given(part)}; make it with UBatchSlice.from_range")
    for what, end, there in (
        ("tokens", part.token_slice.stop, shape.num_tokens),
        ("requests", part.req_slice.stop, shape.num_requests),
    ):
        if end > there:
            raise SliceError(f"slice_info ends at {end} but there are {there} {what}; end it there")


def _check_order(slices: Sequence[UBatchSlice]) -> None:
    for index, (earlier, later) in enumerate(pairwise(part.token_slice for part in slices)):
        if later.start < earlier.start:
            raise SliceError(
                f"slice {index + 1} ({later.start}:{later.stop}) comes after slice {index} "
                f"({earlier.start}:{earlier.stop}); put the slices in the order of tokens"
            )


def check_requests(
    slices: Sequence[UBatchSlice], num_requests: int, offsets: NDArray[np.int64] | None
) -> None:
    """Raise SliceError unless the request ranges fit the token ranges, which were checked before.

    A request without tokens on a cut may be on either side of it. Without `offsets` only the order is
    checked: neighbours follow each other, or share the one request that straddles the cut.
    """
    bounds = np.array([part.token_slice.start for part in slices] + [slices[-1].token_slice.stop])
    starts = np.array([part.req_slice.start for part in slices])
    stops = np.array([part.req_slice.stop for part in slices])
    shared = stops[:-1] - starts[1:]  # requests that a slice has in common with the one before it
    wrong = np.zeros(len(slices), bool)
    wrong[0] = starts[0] != 0
    wrong[-1] |= stops[-1] != num_requests
    # below 0: requests in no slice; a cut falls into one request at most
    wrong[1:] |= (shared < 0) | (shared > 1)
    if offsets is not None and not wrong.any():
        wrong[1:] = _wrong_at_cuts(bounds[1:-1], starts[1:], shared, offsets)
    if wrong.any():
        index = int(wrong.argmax())
        part = slices[index]
        expected = ""
        if offsets is not None:
            start, stop = requests_of(bounds.tolist(), offsets)[index]
            expected = f", which are {start}:{stop}"
        raise SliceError(
            f"slice {index} ({part}) does not follow the requests of its tokens{expected}; neighbours share "
            f"only a request that the cut falls into, and all {num_requests} must be in a slice"
        )


def _wrong_at_cuts(
    cuts: NDArray[np.int64], first: NDArray[np.int64], shared: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """For each cut whether `first`, the first request after it, does not fit it.

    Where that request begins before the cut, the cut must fall into it: it ends after the cut, and the slice
    before has it too. Where it does not begin before, it must begin at the cut, and no slice before has it.
    """
    begins = offsets.take(first, mode="clip")  # a `first` beyond the last request was found wrong before
    ends = offsets.take(first + 1, mode="clip")
    fits = np.where(begins < cuts, (shared == 1) & (ends > cuts), (shared == 0) & (begins == cuts))
    return np.asarray(~fits)


def check_rows(slices: Sequence[UBatchSlice]) -> None:
    """Raise SliceError unless requests are tokens, as where each row is its own request."""
    for index, part in enumerate(slices):
        if part.req_slice != part.token_slice:
            raise SliceError(
                f"slice {index} ({part}) has other requests than tokens, but each row is its own request; "
                "make them equal"
            )
