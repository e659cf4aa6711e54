"""Where to cut along the token axis, in the order the batch has: even, floor, request-aligned, explicit.

Invariant: boundaries are plain ints that rise strictly from 0 to the number of tokens, so no ubatch is empty
(unless explicit boundaries ask for it); a batch that cannot be cut so is a SliceError.

Rejected for `even`: full parts and a small rest. 65 tokens with a limit of 64 are cut into 33 + 32 and not
into 64 + 1, since the call for the one token would cost nearly as much as a full one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heapify, heapreplace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbatch.cutting.filling import check_fillable, fill, filled, smallest_budget, sum_reach
from microbatch.cutting.slices import PartsWanted
from microbatch.errors import ArgumentTypeError, SliceError
from microbatch.options import checks
from microbatch.options.messages import given


def even(num_tokens: int, count: int) -> list[int]:
    """Sizes that differ by at most 1, the larger ones first."""
    size, larger = divmod(num_tokens, count)
    edge = larger * (size + 1)
    return [*range(0, edge, size + 1), *range(edge, num_tokens, size), num_tokens]


def even_count(num_tokens: int, limit: int, least: int = 1) -> int:
    """The fewest even parts of at most `limit` tokens, from `least` on."""
    return max(least, -(-num_tokens // limit))


def explicit(boundaries: Sequence[Any] | None, num_tokens: int, allow_empty: bool) -> list[int]:
    """The boundaries as ints from 0 to `num_tokens`; the two ends may be left out."""
    if boundaries is None:
        raise ArgumentTypeError("the splitter is explicit but boundaries is None; give the places to cut at")
    if isinstance(boundaries, (str, bytes)) or not isinstance(boundaries, (Sequence, np.ndarray)):
        raise ArgumentTypeError(f"boundaries is {given(boundaries)}; give a list of whole numbers")
    bounds = [checks.position(f"boundaries[{index}]", value) for index, value in enumerate(boundaries)]
    for index, bound in enumerate(bounds):
        if bound > num_tokens:
            raise SliceError(
                f"boundaries[{index}] is {bound}, but there are {num_tokens} tokens; cut before the end"
            )
        if index and bound < bounds[index - 1]:
            raise SliceError(
                f"boundaries[{index}] is {bound}, after {bounds[index - 1]}; "
                "boundaries follow the order of tokens"
            )
    bounds = bounds if bounds[:1] == [0] else [0, *bounds]
    bounds += [] if bounds[-1] == num_tokens else [num_tokens]
    for index, (start, stop) in enumerate(pairwise(bounds)):
        if start == stop and not allow_empty:
            raise SliceError(
                f"ubatch {index} would be empty: the boundary {start} is there twice; "
                "leave one out, or pass allow_empty=True"
            )
    return bounds


def floor(num_tokens: int, count: int, num_tokens_padded: int) -> list[int]:
    """vLLM's rule: boundaries at i * (padded // count) over the real tokens; the last part takes the rest.

    Raises SliceError where the last part would be padding only, where vLLM makes slices that run backwards.
    """
    size = num_tokens_padded // count
    if is_last_ubatch_empty(num_tokens, num_tokens_padded, count):
        raise SliceError(
            f"ubatch {count - 1} of {count} would be empty: {num_tokens} tokens padded to "
            f"{num_tokens_padded} end before its start at {size * (count - 1)}; use fewer ubatches "
            "(is_last_ubatch_empty tells)"
        )
    return [*(size * index for index in range(count)), num_tokens]


def is_last_ubatch_empty(num_tokens: int, num_tokens_padded: int, num_ubatches: int) -> bool:
    """Whether the floor rule would leave the last ubatch padding only (vLLM's condition)."""
    parts = checks.count("num_ubatches", num_ubatches)
    padded = checks.position("num_tokens_padded", num_tokens_padded)
    return padded // parts * (parts - 1) >= checks.position("num_tokens", num_tokens)


def floor_count(num_tokens: int, limit: int, least: int = 1) -> int:
    """The fewest parts by the floor rule, from `least` on, of which none has more than `limit` tokens.

    With k parts of n tokens the last part is the largest: n - (k - 1) * (n // k) tokens. That does not fall
    steadily with k, so k cannot be found by halving. n // k has at most 2 * sqrt(n) values, and each turn of
    the loop settles one of them.
    """
    count = even_count(num_tokens, limit, least)
    while True:
        size = num_tokens // count
        # with parts of this size the last one is within the limit from this count on:
        # n - (k - 1) * size <= limit, so k >= 1 + (n - limit) / size, rounded up
        needed = max(count, 1 - (limit - num_tokens) // size)
        if num_tokens // needed == size:
            return needed
        count = num_tokens // size + 1  # the first count with smaller parts


def request_aligned(offsets: NDArray[np.int64], wanted: PartsWanted, balance: float) -> list[int]:
    """Cuts between requests (`offsets` as query_start_loc).

    By limit: the fewest parts, and of these cuts the one whose largest part is smallest; a request above the
    limit is alone. By count: at the request boundaries nearest to equal shares; of two that are equally near,
    the later one (SGLang's rule).

    By count, a request is cut after all where the parts would differ too much: one has less than `balance`,
    or more than 1 - `balance`, of what two equal shares hold. Then all cuts are at equal shares of tokens.
    With 0.48 and two parts that is SGLang's rule; it holds here for any number of parts. A `balance` of 0
    never cuts a request, and is a SliceError where there are fewer requests than parts.

    By both: the cut by count, where each of its parts is within the limit. Else that number of parts between
    requests, the largest as small as can be and each request above the limit alone; or more parts, where
    these need more. With fewer requests than parts, the largest are cut until there are enough parts.
    """
    edges = np.unique(offsets)  # requests without tokens are no places to cut at
    if not wanted.count:
        return _aligned_by_limit(edges, wanted.limit or 1)
    bounds = _aligned_by_count(edges, wanted.count, balance)
    if wanted.limit is None or np.diff(bounds).max() <= wanted.limit:
        return bounds
    bounds = _aligned_by_limit(edges, wanted.limit)
    if len(bounds) > wanted.count:
        return bounds
    if wanted.count >= len(edges):
        return _cut_further(bounds, wanted.count)
    costs = int(np.diff(edges).max()), int(edges[-1])
    return [0, *edges[filled(sum_reach(edges.tolist()), len(edges) - 1, wanted, costs)].tolist()]


def _cut_further(bounds: list[int], count: int) -> list[int]:
    """`bounds` and as many cuts more as `count` parts need, each in what is the largest piece then."""
    pieces = [1] * (len(bounds) - 1)
    sizes = enumerate(pairwise(bounds))
    largest: list[tuple[float, int]] = [(start - stop, at) for at, (start, stop) in sizes]
    heapify(largest)  # the largest first, so sizes are negative
    for _ in range(count - len(pieces)):
        at = largest[0][1]
        pieces[at] += 1
        heapreplace(largest, ((bounds[at] - bounds[at + 1]) / pieces[at], at))
    spans = zip(pairwise(bounds), pieces, strict=True)
    cuts = [
        start + (stop - start) * piece // number for (start, stop), number in spans for piece in range(number)
    ]
    return [*cuts, bounds[-1]]


def _aligned_by_count(edges: NDArray[np.int64], count: int, balance: float) -> list[int]:
    """Cuts into `count` parts at `edges`, or at equal shares of tokens where parts would differ too much."""
    tokens = int(edges[-1])
    if count < len(edges):
        bounds = _nearest(edges, tokens, count)
        # two equal shares hold 2 * tokens / count; all is multiplied by count, to compare whole numbers
        sizes = np.diff(bounds) * count
        least, most = 2 * balance * tokens, 2 * (1 - balance) * tokens
        if balance == 0 or (sizes.min() >= least and sizes.max() <= most):
            return bounds
    if balance == 0:
        check_fillable(count, len(edges) - 1, "request")
    check_fillable(count, tokens, "token")
    return [tokens * index // count for index in range(count + 1)]


def _nearest(edges: NDArray[np.int64], tokens: int, count: int) -> list[int]:
    """Distinct request boundaries nearest to i * tokens / count, the ends included."""
    scaled = (edges * count).tolist()  # so that the targets, multiplied by count too, are whole numbers
    last = len(scaled) - 1
    chosen = [0]
    for index in range(1, count):
        target = tokens * index
        after = bisect_left(scaled, target)
        nearest = after - 1 if target - scaled[after - 1] < scaled[after] - target else after
        # after the cut before, and with one request left for each part that follows
        chosen.append(min(max(nearest, chosen[-1] + 1), last - (count - index)))
    return [*edges[chosen].tolist(), tokens]


def _aligned_by_limit(edges: NDArray[np.int64], limit: int) -> list[int]:
    """The fewest parts within `limit`, then the smallest limit for which they are still enough."""
    reach = sum_reach(edges.tolist())
    sizes = np.diff(edges)
    fewest = len(fill(reach, len(sizes), limit))
    # no part can be smaller than its largest request; requests above the limit are alone in any case
    low = int(sizes[sizes <= limit].max(initial=1))
    budget = smallest_budget(reach, len(sizes), fewest, low, limit) if limit > low else limit
    return [0, *edges[fill(reach, len(sizes), budget)].tolist()]
