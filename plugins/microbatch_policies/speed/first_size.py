"""The first size to try, from what is known before anything ran: bytes, rows and workers.

A part shall be about as large as a cache. But what a function makes of its input does not show in the input
(distances to many points are far wider), so a batch is cut into 256 parts at least, as long as each has 32
rows and 8 KiB. A function that is compiled for each size has few sizes to find a better one, and fewer
arrays between its operations: there it is 64 parts.
"""

from __future__ import annotations

from microbatch.extend.records import SizingRequest
from microbatch_policies.speed import constants as tuned


def start_size(request: SizingRequest) -> int | None:
    """Units of the first parts to try; None to try the whole batch first."""
    units = request.num_tokens
    if units < 2 * max(1, request.workers):
        return None
    if request.unit == "cost":
        return None if units <= tuned.COST_START else max(tuned.COST_START, request.longest_request)
    largest = request.largest_bytes_per_unit or request.bytes_per_unit
    if largest <= 0:
        return min(units, max(tuned.LEAST_ROWS, units // tuned.FIRST_PARTS))
    if units * max(request.bytes_per_unit, largest) < tuned.TINY_BYTES:
        return None
    parts = tuned.FIRST_PARTS_FEW if request.few else tuned.FIRST_PARTS
    by_cache = max(1, tuned.TARGET_BYTES // largest)
    by_parts = max(tuned.LEAST_ROWS, -(-units // parts), -(-tuned.LEAST_BYTES // largest))
    return min(by_cache, by_parts, units)
