"""How long a step would have taken if none of its parts had been slow.

The first step with a new size or number of workers is cold: threads start, pages of memory are touched for
the first time, the caches hold parts of another size. A few of its parts then take far longer than the
others. (A chain of 8 torch operations over 64 MiB in 256 parts took 145 ms the first time and 84 ms the
second; by its median part 44 and 54 ms.)

Invariant: never more than what was measured. Rejected: taking this in place of the measured time (a garbage
collection or a page fault in every tenth part is a cost that stays); a second measurement of every size
(twice as many slow steps).
"""

from __future__ import annotations

from microbatch.extend.records import StepReport
from microbatch_policies.speed.constants import COLDEST, FEW


def steady_seconds(report: StepReport) -> float:
    """Seconds of the step without what its slow parts took beyond the median part of the same size.

    The measured seconds where the report has no times of parts; a quarter of them where it has fewer than
    four.
    """
    times, sizes = report.ubatch_seconds, report.sizes
    if not times or len(times) != len(sizes):
        return report.seconds
    if len(times) < FEW:
        return report.seconds / COLDEST
    from statistics import median  # 6 ms, which `import microbatch` need not take

    pace = median(seconds / max(1, size) for seconds, size in zip(times, sizes, strict=True))
    share = report.num_ubatches / len(times)  # of many parts only some are told
    excess = share * (sum(times) - pace * sum(sizes)) / max(1, report.workers)
    return min(report.seconds, max(report.seconds - excess, 0.0))
