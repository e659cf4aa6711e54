"""The first step of a kind of batch, whose sizes follow the times of its parts: how it begins, what it found.

Invariant: its first parts are few rows, and none has more than a 16th of the batch, so memory that is not
known is come to by and by. Later steps have parts of one size, and the search begins with the size that was
found. Rejected: sizes that follow the times in every step. Parts of several sizes in turns cost more than
each of them alone, as the memory allocator gives pages back and takes them again: Black-Scholes on two
workers took 25 to 30 ns a row with parts of 65,536 and 131,072 rows in turns, 14 to 16 ns with either.
"""

from __future__ import annotations

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.speed import constants as tuned


def first_step(request: SizingRequest, reason: str) -> Proposal:
    """Where the first parts begin, and the largest that a later one may be."""
    start, most = first_sizes(request)
    start = min(start, -(-request.num_tokens // max(2, request.workers)))
    return Proposal(start=start, limit=max(start, most), reason=reason)


def first_sizes(request: SizingRequest) -> tuple[int, int]:
    """Units of the first parts of the first step, rather few, and the most that a part of it may have."""
    largest = request.largest_bytes_per_unit or request.bytes_per_unit or 1
    by_cache = max(1, tuned.TARGET_BYTES // largest)
    few = max(1, request.num_tokens // tuned.PACED_ROWS)
    return min(by_cache, few), request.num_tokens // tuned.MOST_PACED


def found_size(report: StepReport) -> int | None:
    """The exponent of the smallest size near the fastest, of a step whose sizes followed the times.

    Where its parts were planned before after all, that of its largest part; None where it ran whole.
    """
    if not report.split:
        return None
    if not report.pace:
        return max(report.sizes).bit_length() - 1
    least = min(seconds for _, seconds in report.pace)
    return min(size for size, seconds in report.pace if seconds <= tuned.GAIN * least).bit_length() - 1
