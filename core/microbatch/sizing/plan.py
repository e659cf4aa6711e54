"""What one step shall do, as numbers: where to cut, why, and how large the parts are.

Invariant: it holds no array and no function, so it may be kept from one step to the next.
"""

from __future__ import annotations

from msgspec import Struct

from microbatch.cutting.slices import Cut
from microbatch.extend.records import SizingRequest
from microbatch.sizing.pace_bounds import PaceBounds


class Plan(Struct, frozen=True, kw_only=True):
    """What one step shall do."""

    cut: Cut | None
    """Where to cut; None runs the function once on the whole batch."""
    reason: str
    """Why, for the report."""
    limit: int | None
    """Most units in one ubatch."""
    workers: int
    """Threads to use, the caller's included."""
    num_units: int
    """Units in the batch: rows, tokens, or cost."""
    unit: str
    """What one unit is."""
    sizes: tuple[int, ...]
    """Units of each part, in row order; one entry where the batch is not cut."""
    signature: str = ""
    """What sizes are learned for, as in the request."""
    together: int | None = None
    """Most ubatches that may be alive at the same time where they take turns; None for any number."""
    fixed: bool = False
    """Whether the parts must be as they are: the caller named them, the function may not be cut, or other
    ranks count on their number."""
    pace: PaceBounds | None = None
    """Where sizes follow the times of the parts, what holds for them; `cut` and `sizes` are then only how the
    step would go on as it begins. None for a step whose parts are those of `cut`."""
    dummies: int = 0
    """Calls of the function beyond the parts, whose outputs are dropped, so that all ranks call as often."""


def whole_plan(request: SizingRequest, reason: str) -> Plan:
    """The plan that runs the function once on the whole batch of `request`."""
    return Plan(
        cut=None,
        reason=reason,
        limit=None,
        workers=1,
        num_units=request.num_tokens,
        unit=request.unit,
        sizes=(request.num_tokens,),
        signature=request.signature,
    )
