"""The records of cutting: a part of a batch, a batch as numbers, and a batch cut into parts.

Invariant: ranges are half open, counted from 0, and held as plain Python ints with step None, whatever kind
of integer they were made from (a NumPy int as the last boundary has cost vLLM users wrong graph keys). A
`UBatchSlice` never runs backwards; whether a list of them covers a batch is asked in `covering.py`, which
knows the batch. Rejected: checking every slice of our own making, since a step may have thousands and has 40
us for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, starmap
from typing import Any, Self, overload

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from microbatch.errors import ArgumentTypeError, SliceError
from microbatch.options.checks import position
from microbatch.options.messages import given


@dataclass(frozen=True, slots=True, init=False, kw_only=True)
class UBatchSlice:
    """The tokens and the requests of one ubatch: `UBatchSlice(token_slice=..., req_slice=...)`.

    Both are given by name, since vLLM's order is the other way round; vLLM's name `request_slice` is taken
    too, and reads the same. Raises ArgumentTypeError for a slice without its name, and for what is not a
    slice of whole numbers, SliceError for one that has a step, is negative, has no end or runs backwards. A
    request of which only a part is here still counts as one of its requests.
    """

    token_slice: slice
    """Range of tokens (or rows, where each row is its own request)."""
    req_slice: slice
    """Range of requests that have a token here."""

    @overload
    def __init__(self, *, token_slice: slice, req_slice: slice) -> None: ...
    @overload
    def __init__(self, *, token_slice: slice, request_slice: slice) -> None: ...
    def __init__(
        self, *unnamed: object, token_slice: Any = None, req_slice: Any = None, request_slice: Any = None
    ) -> None:
        if unnamed:
            raise ArgumentTypeError(
                f"UBatchSlice was given {given(unnamed[0])} without its name, and vLLM's order is not ours;"
                " write UBatchSlice(token_slice=..., req_slice=...)"
            )
        if req_slice is not None and request_slice is not None:
            raise ArgumentTypeError(
                "req_slice and request_slice are both given, and are one thing; give one of them"
            )
        requests = req_slice if request_slice is None else request_slice
        name = "req_slice" if request_slice is None else "request_slice"
        object.__setattr__(self, "token_slice", _normal("token_slice", token_slice))
        object.__setattr__(self, "req_slice", _normal(name, requests))

    @classmethod
    def from_range(cls, token_start: int, token_end: int, req_start: int, req_end: int) -> Self:
        """The slice of tokens [token_start, token_end) and requests [req_start, req_end)."""
        return cls(token_slice=slice(token_start, token_end), req_slice=slice(req_start, req_end))

    @property
    def request_slice(self) -> slice:
        """`req_slice`, by the name it has in vLLM."""
        return self.req_slice

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return int(self.token_slice.stop - self.token_slice.start)

    @property
    def num_reqs(self) -> int:
        """Number of requests."""
        return int(self.req_slice.stop - self.req_slice.start)

    @property
    def is_empty(self) -> bool:
        """Whether it has no token or no request."""
        return self.num_tokens == 0 or self.num_reqs == 0

    def __hash__(self) -> int:  # slices have none before Python 3.12
        tokens, requests = self.token_slice, self.req_slice
        return hash((tokens.start, tokens.stop, requests.start, requests.stop))

    def __str__(self) -> str:
        tokens, requests = self.token_slice, self.req_slice
        return f"tokens {tokens.start}:{tokens.stop}, requests {requests.start}:{requests.stop}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """A batch as numbers; checked when it is cut."""

    num_tokens: int
    """Units along the token axis: tokens, or rows."""
    num_requests: int
    """Requests; equal to `num_tokens` where each row is its own request."""
    query_start_loc: NDArray[np.int64] | None = None
    """Tokens before each request and their total, num_requests + 1 entries; None: equally long requests."""
    lengths: NDArray[np.int64] | None = None
    """True length of each row of a padded 2-D batch (rows are requests); None for any other batch."""
    num_tokens_padded: int | None = None
    """Tokens that the step runs, those after the real ones being padding; None for no more than these."""
    num_reqs_padded: int | None = None
    """Requests that the step runs; None for no more than there are, or one a row where rows are padded."""

    @property
    def padded(self) -> bool:
        """Whether counts with padding were given."""
        return self.num_tokens_padded is not None or self.num_reqs_padded is not None

    @property
    def tokens_to_run(self) -> int:
        """Tokens with the padding."""
        return self.num_tokens if self.num_tokens_padded is None else self.num_tokens_padded

    @property
    def requests_to_run(self) -> int:
        """Requests with the padding."""
        if self.num_reqs_padded is not None:
            return self.num_reqs_padded
        rows = self.query_start_loc is None and self.num_tokens == self.num_requests
        return self.tokens_to_run if rows else max(self.num_requests, min(1, self.tokens_to_run))

    @property
    def starts(self) -> NDArray[np.int64]:
        """`query_start_loc`, or that of equally long requests where there is none."""
        if self.query_start_loc is not None:
            return self.query_start_loc
        counts = np.arange(self.num_requests + 1, dtype=np.int64) * self.num_tokens
        return counts // max(1, self.num_requests)


class PartsWanted(Struct, frozen=True, kw_only=True):
    """How many parts, or how large; with both, `count` parts, and more only where `limit` needs more."""

    count: int = 0
    """Number of parts; 0 where the limit alone says it."""
    limit: int | None = None
    """Most units in a part; None where the count alone says it."""
    max_ubatches: int
    """Most parts, whatever was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A batch cut into ubatches."""

    slices: Sequence[UBatchSlice]
    """In order, every token in exactly one, the padding too; empty for an empty batch."""
    unpadded: tuple[UBatchSlice, ...] | None = None
    """The same without padding, empty where a part is padding alone; None where the batch is not padded."""
    permutation: NDArray[np.int64] | None = None
    """Requests were put in this order before cutting: request i of the slices is request permutation[i] of
    the batch. None: the order was kept."""
    trims: tuple[int, ...] | None = None
    """Longest row of each part, at least 1, where the batch has lengths; else None."""
    padding_avoided: int = 0
    """Padded units that trimming saves against num_requests * max(lengths)."""
    known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What others work out from this cut alone, by name, so that steps that share the cut share it too."""

    @property
    def real(self) -> Sequence[UBatchSlice]:
        """The parts without padding; `slices` where there is none."""
        return self.slices if self.unpadded is None else self.unpadded

    @property
    def real_tokens(self) -> tuple[int, ...]:
        """Tokens of each part that are no padding."""
        return tuple([part.num_tokens for part in self.real])


_new = UBatchSlice.__new__
_set_tokens = UBatchSlice.__dict__["token_slice"].__set__
_set_requests = UBatchSlice.__dict__["req_slice"].__set__


def row_slices(bounds: Sequence[int]) -> tuple[UBatchSlice, ...]:
    """Slices between neighbouring `bounds` where each row is a request; the bounds are trusted."""
    rows = list(starmap(slice, pairwise(bounds)))
    return tuple(map(_trusted, rows, rows))


def row_slice(start: int, stop: int) -> UBatchSlice:
    """The slice of rows [start, stop) where each row is a request; the bounds are trusted."""
    rows = slice(start, stop)
    return _trusted(rows, rows)


def token_slices(bounds: Sequence[int], requests: Iterable[tuple[int, int]]) -> tuple[UBatchSlice, ...]:
    """Slices between neighbouring token `bounds` with these request ranges; all numbers are trusted."""
    return tuple(map(_trusted, starmap(slice, pairwise(bounds)), starmap(slice, requests)))


def _trusted(tokens: slice, requests: slice) -> UBatchSlice:
    part = _new(UBatchSlice)
    _set_tokens(part, tokens)
    _set_requests(part, requests)
    return part


def padded_twin(
    slices: Sequence[UBatchSlice], num_tokens_padded: int, num_reqs_padded: int
) -> tuple[UBatchSlice, ...]:
    """`slices` of a step that is padded to a captured size: the last one stretched to the padded counts.

    Raises SliceError where these are lower than the counts of the slices, and where there are no slices.
    """
    if not slices:
        raise SliceError("there are no slices to stretch; cut the batch first")
    tokens, requests = slices[-1].token_slice, slices[-1].req_slice
    for name, padded, real in (
        ("num_tokens_padded", num_tokens_padded, tokens.stop),
        ("num_reqs_padded", num_reqs_padded, requests.stop),
    ):
        if position(name, padded) < real:
            raise SliceError(f"{name} is {padded}, below the {real} that the slices hold; padding only adds")
    last = UBatchSlice.from_range(tokens.start, num_tokens_padded, requests.start, num_reqs_padded)
    return *slices[:-1], last


def _normal(name: str, value: Any) -> slice:
    if not isinstance(value, slice):
        raise ArgumentTypeError(f"{name} is {given(value)}; give a slice, such as slice(0, 8)")
    if value.step is not None and position(f"the step of {name}", value.step) != 1:
        raise SliceError(f"{name} has step {value.step}; a ubatch is a contiguous range, leave the step out")
    start = 0 if value.start is None else position(f"the start of {name}", value.start)
    if value.stop is None:
        raise SliceError(f"{name} has no end; give the number of tokens or requests it ends at")
    stop = position(f"the end of {name}", value.stop)
    if stop < start:
        raise SliceError(f"{name} is {start}:{stop}, which runs backwards; give the lower number first")
    return slice(start, stop)
