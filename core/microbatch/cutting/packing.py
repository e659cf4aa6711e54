"""Put requests in order of length and cut ranges of that order: the splitter `packed`.

Invariant: a request is never cut, requests of equal length keep their order, and a part within the budget
stays so: padded cost (longest times number) for rows that have lengths, else the sum of tokens. A request
above the budget runs alone. On 4,096 log-normal lengths the same budget pads 3.4 % sorted and 73 % in the
given order. Longest first, so that the largest blocks of memory are allocated first and found again by the
others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from microbatch.cutting.filling import filled, padded_reach, sum_reach
from microbatch.cutting.slices import Cut, PartsWanted, row_slices, token_slices


def pack_padded(lengths: NDArray[np.int64], wanted: PartsWanted) -> Cut:
    """Pack rows by padded cost; a row of length 0 costs as much as one of length 1."""
    order = np.argsort(-lengths, kind="stable")
    falling = lengths[order]
    costs = np.maximum(falling, 1).tolist()
    ends = filled(padded_reach(costs), len(costs), wanted, (costs[0], costs[0] * len(costs)))
    bounds = [0, *ends]
    trims, avoided = trims_of(falling, bounds)
    return Cut(
        slices=row_slices(bounds), permutation=_unless_sorted(order), trims=trims, padding_avoided=avoided
    )


def pack_tokens(offsets: NDArray[np.int64], wanted: PartsWanted) -> Cut:
    """Pack requests by the sum of their tokens; requests without tokens go to the last part."""
    lengths = np.diff(offsets)
    order = np.argsort(-lengths, kind="stable")
    edges = np.concatenate(([0], np.cumsum(lengths[order]))).tolist()
    with_tokens = int(np.count_nonzero(lengths))
    ends = filled(sum_reach(edges), with_tokens, wanted, (edges[1], edges[-1]))
    ends[-1] = len(lengths)
    starts = [0, *ends[:-1]]
    slices = token_slices([0, *(edges[end] for end in ends)], zip(starts, ends, strict=True))
    return Cut(slices=slices, permutation=_unless_sorted(order))


def trims_of(lengths: NDArray[np.int64], bounds: list[int]) -> tuple[tuple[int, ...], int]:
    """Longest row of each part, at least 1; and the padded units saved against the longest of all."""
    edges = np.asarray(bounds)
    sizes = np.diff(edges)
    trims = np.ones(len(sizes), np.int64)
    some = sizes > 0
    trims[some] = np.maximum.reduceat(lengths, edges[:-1][some])
    np.maximum(trims, 1, out=trims)
    avoided = len(lengths) * int(trims.max(initial=1)) - int((trims * sizes).sum())
    return tuple(trims.tolist()), avoided


def _unless_sorted(order: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """None where the requests are in order already, which saves the copy of the batch."""
    return None if bool((order[1:] > order[:-1]).all()) else order
