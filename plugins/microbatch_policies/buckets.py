"""`buckets`: round the size down to one that has a captured graph, or to a fixed ladder.

Invariant: never above the limit it was given; what is below the smallest bucket stays as it is. Rounding up
would need padding that still fits, which is the backend's to know.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from microbatch.errors import ArgumentValueError
from microbatch.extend.records import Proposal, SizingRequest
from microbatch_policies.counts import KeepsNothing
from microbatch_policies.option_checks import whole

LADDER = (1, 2, 4, *range(8, 257, 8), *range(272, 1025, 16))
"""vLLM's capture sizes; larger sizes are rounded down to a multiple of 16."""


class Buckets(KeepsNothing):
    """Rounds the limit of the policies before it (or the batch) down to one of `sizes`.

    Without `sizes` these are the captured sizes, and where there are none, vLLM's ladder. Batches that are
    one bucket already run whole.
    """

    def __init__(self, sizes: Sequence[int] | None = None) -> None:
        if sizes is not None and not sizes:
            raise ArgumentValueError("sizes of policy 'buckets' is empty; give at least one size, or None")
        self._sizes = tuple(sorted({whole("buckets", "sizes", size) for size in sizes or ()}))

    def propose(self, request: SizingRequest) -> Proposal:
        """The largest bucket within the limit."""
        base = max(1, min(request.num_tokens, request.limit or request.num_tokens))
        sizes = self._sizes or request.graph_sizes
        bucket = round_down(base, sizes or LADDER, beyond=None if sizes else 16)
        how = "the batch is a" if bucket == request.num_tokens else "rounded down to the"
        return Proposal(limit=bucket, reason=f"{how} bucket of {bucket}")


def round_down(size: int, sizes: Sequence[int], beyond: int | None = None) -> int:
    """The largest of `sizes` (increasing) within `size`, or `size` below all of them; above all of them a
    multiple of `beyond`."""
    at = bisect_right(sizes, size)
    if beyond is not None and at == len(sizes):
        return size // beyond * beyond
    return sizes[at - 1] if at else size
