"""From a size of the search to a proposal, and which sizes a step allows.

Invariant: where there are several parts, their number is a multiple of the workers, so that no worker idles
at the end, unless sizes are those of captured graphs. No part is smaller than the longest request. A size is
rounded to that of a graph here, before it is proposed. If only `buckets` rounded it, the step would run
another size than the search asked for, and the search would take that for a refusal.
"""

from __future__ import annotations

from microbatch.extend.records import Proposal, SizingRequest
from microbatch_policies.buckets import round_down
from microbatch_policies.speed.arms import WHOLE, Allowed


def allowed_sizes(request: SizingRequest) -> Allowed:
    """What may be tried for this batch, below the limit of the policies before."""
    units = max(1, request.num_tokens)
    # least: room for the longest request, and at most 2^14 parts; largest: one part for each worker, at least
    # two
    low = max((request.longest_request - 1).bit_length(), (units >> 14).bit_length())
    high = max(low, (-(-units // max(2, request.workers)) - 1).bit_length())
    bound = units if request.limit is None else request.limit
    if bound < units:
        high = min(high, max(0, bound.bit_length() - 1))
        low = min(low, high)
    return Allowed(low=low, high=high, whole=bound >= units)


def proposal_for(arm: int, request: SizingRequest, reason: str, workers: int | None = None) -> Proposal:
    """The proposal for a size, on `workers` where these are fewer than allowed."""
    if arm == WHOLE:
        return Proposal(split=False, reason=reason)
    return Proposal(limit=_limit(arm, request, workers or request.workers), reason=reason, workers=workers)


def size_name(arm: int, unit: str) -> str:
    """A size in words."""
    what = "padded units" if unit == "cost" else unit
    return "the whole batch" if arm == WHOLE else f"about {1 << arm} {what}"


def workers_name(workers: int) -> str:
    """A number of workers in words."""
    return "one worker" if workers == 1 else f"{workers} workers"


def _limit(arm: int, request: SizingRequest, workers: int) -> int:
    units = max(1, request.num_tokens)
    count = -(-units // (1 << arm))
    if count > 1:
        count = -(-count // workers) * workers
    limit = -(-units // count)
    if request.graph_sizes:
        limit = round_down(limit, request.graph_sizes)
    return min(units, max(limit, request.longest_request))
