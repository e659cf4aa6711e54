"""Do the numbers of a batch agree: tokens, requests, query_start_loc and lengths.

Invariant: what passes here can be cut without another look; what does not is refused by name, index and value
before anything is cut. Rejected: repairing, such as a query_start_loc that is one entry short, since the
caller's attention would then run on other numbers than the cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbatch.cutting.slices import BatchShape
from microbatch.errors import ArgumentTypeError, MicrobatchError, SliceError
from microbatch.options.checks import position


def check_shape(shape: BatchShape) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """(query_start_loc, lengths) of `shape` as int64; raises SliceError where its numbers do not agree."""
    tokens = position("num_tokens", shape.num_tokens)
    requests = position("num_requests", shape.num_requests)
    if shape.padded:
        _check_padding(shape, tokens, requests)
    if not tokens and requests:
        raise SliceError(f"{requests} requests but 0 tokens; skip the step, or leave these requests out")
    if tokens and not requests:
        raise SliceError(f"{tokens} tokens but 0 requests; say which requests the tokens belong to")
    if shape.query_start_loc is not None:
        if shape.lengths is not None:
            raise SliceError(
                "the batch has query_start_loc and lengths; "
                "give lengths for padded rows, query_start_loc for tokens"
            )
        return _offsets(shape.query_start_loc, tokens, requests, shape.num_reqs_padded), None
    if tokens < requests:
        raise SliceError(
            f"{tokens} tokens cannot cover {requests} requests, each needs at least 1; "
            "give query_start_loc if some have none"
        )
    return None, None if shape.lengths is None else _lengths(shape.lengths, tokens, requests)


def _check_padding(shape: BatchShape, tokens: int, requests: int) -> None:
    """Raise SliceError for padded counts that are lower than the real ones, or padding without a request."""
    if shape.lengths is not None:
        raise SliceError("the batch has lengths and padded counts; give query_start_loc in place of lengths")
    for name, given, real in (
        ("num_tokens_padded", shape.num_tokens_padded, tokens),
        ("num_reqs_padded", shape.num_reqs_padded, requests),
    ):
        if given is not None and position(name, given) < real:
            raise SliceError(f"{name} is {given}, below the {real} there are; padding only adds")
    if shape.tokens_to_run and not shape.requests_to_run:
        raise SliceError(
            f"num_reqs_padded is 0 but num_tokens_padded is {shape.tokens_to_run}; pad the requests too"
        )


def check_starts(name: str, starts: NDArray[np.int64], error: type[MicrobatchError]) -> None:
    """Raise `error` unless `starts`, called `name` in messages, begin at 0 and never decrease."""
    if starts[0] != 0:
        raise error(f"{name}[0] is {starts[0]}; it must be 0, subtract the first entry")
    falls = starts[1:] < starts[:-1]
    if falls.any():
        index = int(falls.argmax()) + 1
        raise error(
            f"{name} decreases at index {index} ({starts[index - 1]} to {starts[index]}); "
            "give cumulative token counts"
        )


def check_lengths(name: str, lengths: NDArray[np.int64], error: type[MicrobatchError]) -> None:
    """Raise `error` for a length below 0."""
    if len(lengths) and lengths.min() < 0:
        index = int(lengths.argmin())
        raise error(f"{name}[{index}] is {lengths[index]}; a length is 0 or more")


def _offsets(value: Any, tokens: int, requests: int, padded: int | None) -> NDArray[np.int64]:
    """The starts of the real requests; entries of padded ones after them are left out."""
    array = _whole_numbers("query_start_loc", value)
    if padded is not None and len(array) == padded + 1:
        array = array[: requests + 1]
    if array.dtype.itemsize < 8 and tokens > np.iinfo(array.dtype).max:
        raise SliceError(
            f"a total of {tokens:,} tokens does not fit {array.dtype} offsets; give query_start_loc as int64"
        )
    offsets = array.astype(np.int64, copy=False)
    if len(offsets) != requests + 1:
        raise SliceError(
            f"query_start_loc has {len(offsets)} entries for {requests} requests; give one more than requests"
        )
    check_starts("query_start_loc", offsets, SliceError)
    if offsets[-1] != tokens:
        raise SliceError(
            f"query_start_loc[-1] is {offsets[-1]} but there are {tokens} tokens; "
            "they must be equal, trim the padding"
        )
    return offsets


def _lengths(value: Any, tokens: int, requests: int) -> NDArray[np.int64]:
    lengths = _whole_numbers("lengths", value).astype(np.int64, copy=False)
    if not len(lengths) == requests == tokens:
        raise SliceError(
            f"lengths has {len(lengths)} entries for {requests} requests and {tokens} rows; give one per row"
        )
    check_lengths("lengths", lengths, SliceError)
    return lengths


def _whole_numbers(name: str, value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    if array.size and array.dtype.kind not in "iu":
        raise ArgumentTypeError(f"{name} has dtype {array.dtype}; give whole numbers")
    if array.ndim != 1:
        raise SliceError(f"{name} has {array.ndim} dimensions; give one entry per request, in one dimension")
    return array
