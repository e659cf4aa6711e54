"""What can be measured, what of it a step allows, and the proposal for it.

An *arm* is a size, named by its exponent of two, or the whole batch, or parts whose sizes follow their times
within the step, which find where the search begins.

Invariant: where there are several parts, their number is a multiple of the workers, so that no worker idles
at the end, unless sizes are those of captured graphs, or few, which are powers of two. No part is smaller
than the longest request. A size is rounded to that of a graph here, before it is proposed. If only `buckets`
rounded it, the step would run another size than the search asked for, and the search would take that for a
refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from microbatch.extend.records import Proposal, SizingRequest, unit_label
from microbatch_policies.buckets import round_down
from microbatch_policies.speed.constants import PACED_ROWS

PACED = 63
"""The arm of parts whose sizes follow their times; larger than any exponent."""
WHOLE = 1 << 20
"""The arm of the uncut batch; larger than any exponent."""


class Allowed(Struct, frozen=True, kw_only=True):
    """Which arms a step may run."""

    low: int
    """Least exponent."""
    high: int
    """Largest exponent."""
    whole: bool
    """Whether the whole batch may run uncut."""

    def sizes(self, arms: Iterable[int]) -> list[int]:
        """Those of `arms` that are sizes of parts and may run."""
        return [arm for arm in arms if self.low <= arm <= self.high]


def is_paced(request: SizingRequest) -> bool:
    """Whether sizes follow the times of the parts: where these may, and there are rows for many parts."""
    return request.paced and request.num_tokens >= PACED_ROWS


def allowed_arms(request: SizingRequest, *, paced: bool = False) -> Allowed:
    """What may be tried for this batch, below the limit of the policies before; `paced` parts, or sizes."""
    units = max(1, request.num_tokens)
    if paced:
        return Allowed(low=PACED, high=PACED, whole=request.limit is None or request.limit >= units)
    # least: room for the longest request, at most 2^14 parts; largest: one part for each worker, at least two
    low = max((request.longest_request - 1).bit_length(), (units >> 14).bit_length())
    high = max(low, (-(-units // max(2, request.workers)) - 1).bit_length())
    bound = units if request.limit is None else request.limit
    if bound < units:
        high = min(high, max(0, bound.bit_length() - 1))
    return Allowed(low=min(low, high), high=high, whole=bound >= units)


def proposal_for(arm: int, request: SizingRequest, reason: str, workers: int | None = None) -> Proposal:
    """The proposal for an arm, on `workers` where these are fewer than allowed."""
    if arm == WHOLE:
        return Proposal(split=False, reason=reason)
    units, side = max(1, request.num_tokens), workers or request.workers
    count = -(-units // (1 << arm))
    if count > 1:
        count = -(-count // side) * side
    limit = -(-units // count)
    if request.few:
        limit = 1 << arm
    if request.graph_sizes:
        limit = round_down(limit, request.graph_sizes)
    return Proposal(limit=min(units, max(limit, request.longest_request)), reason=reason, workers=workers)


def arm_name(arm: int, unit: str, workers: int | None = None) -> str:
    """An arm in words, and the workers where these are fewer than allowed."""
    if arm == PACED:
        size = "sizes that follow the times of the parts"
    else:
        size = "the whole batch" if arm == WHOLE else f"about {1 << arm} {unit_label(unit)}"
    if workers is None:
        return size
    return f"{size} on {'one worker' if workers == 1 else f'{workers} workers'}"


def beside(ordered: Sequence[int], best: int) -> list[int]:
    """The next one after the best, and the one before it, where there are such."""
    at = ordered.index(best)
    return [*ordered[at + 1 : at + 2], *ordered[max(0, at - 1) : at]]
