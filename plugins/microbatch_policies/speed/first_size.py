"""The first size to try, from what is known before anything ran: bytes, rows and workers.

A part shall be about as large as a cache. But what a function makes of its input does not show in the input
(distances to many points are far wider), so a batch is cut into 256 parts at least, as long as each has 32
rows and 8 KiB.
"""

from __future__ import annotations

from microbatch.extend.records import SizingRequest
from microbatch_policies.speed.constants import (
    COST_START,
    FIRST_PARTS,
    LEAST_BYTES,
    LEAST_ROWS,
    TARGET_BYTES,
    TINY_BYTES,
)


def start_size(request: SizingRequest) -> int | None:
    """Units of the first parts to try; None to try the whole batch first."""
    units = request.num_tokens
    if units < 2 * max(1, request.workers):
        return None
    if request.unit == "cost":
        return None if units <= COST_START else max(COST_START, request.longest_request)
    largest = request.largest_bytes_per_unit or request.bytes_per_unit
    if largest <= 0:
        return min(units, max(LEAST_ROWS, units // FIRST_PARTS))
    if units * max(request.bytes_per_unit, largest) < TINY_BYTES:
        return None
    by_cache = max(1, TARGET_BYTES // largest)
    by_parts = max(LEAST_ROWS, -(-units // FIRST_PARTS), -(-LEAST_BYTES // largest))
    return min(by_cache, by_parts, units)
