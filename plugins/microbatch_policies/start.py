"""The first size to try, from what is known before anything ran: bytes, rows and workers.

Reference: best parts on CPUs keep 0.5 to 2 MiB per live array and worker; below 64 KiB the dispatch of operations
shows. A wide intermediate (distances to many points) does not show in the input, so a batch is also cut into at
least 64 parts where each still has 32 KiB of input: such a function then needs a 32nd of its memory in its very
first step, and others lose a few microseconds per part once.
"""

from __future__ import annotations

from microbatch.extend.records import SizingRequest

__all__ = ["COST_START", "TARGET_BYTES", "start_size"]

TARGET_BYTES = 1 << 20
"""Bytes of the largest input array of one part."""
LEAST_BYTES = 32 << 10
"""Input bytes below which a part is not made smaller for unseen intermediates."""
TINY_BYTES = 256 << 10
"""Batches with less input than this are run whole first."""
FIRST_PARTS = 64
"""Parts of a first step whose intermediates are unknown."""
COST_START = 2048
"""First size in cost units (characters of text): about 400 tokens of English, whose widest activation in a small
encoder (1536 floats a token) is then 2.4 MiB."""


def start_size(request: SizingRequest) -> int | None:
    """Units of the first parts to try; None to try the whole batch first."""
    units = request.num_tokens
    if units < 2 * max(1, request.workers):
        return None
    if request.unit == "cost":
        return None if units <= COST_START else max(COST_START, request.longest_request)
    largest = request.largest_bytes_per_unit or request.bytes_per_unit
    if largest <= 0:
        return max(1, units // FIRST_PARTS)
    if units * max(request.bytes_per_unit, largest) < TINY_BYTES:
        return None
    by_cache = max(1, TARGET_BYTES // largest)
    by_parts = max(-(-units // FIRST_PARTS), -(-LEAST_BYTES // largest))
    return min(by_cache, by_parts, units)
