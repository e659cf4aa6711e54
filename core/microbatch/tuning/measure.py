"""Measure a function at growing sizes and choose one, without running a size that is not expected to fit.

Invariant: a size runs only if the peak predicted for it from the smaller ones is within the budget, and the
smallest runs always. Nothing here knows a device or a clock: the parts, the marks of memory and the time are
given. Rejected: bisecting between what fits and what fails, since on a host the size that fails ends the
process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from microbatch.extend.abilities import PeakMark
from microbatch.extend.records import unit_label
from microbatch.tuning.prediction import predicted
from microbatch.tuning.report import TunePoint, TuneReport, rate_label

NEAR = 0.05
"""Part of the best throughput by which a chosen size may be slower."""
ENOUGH = 0.2
"""Seconds of calls after which a size is measured well enough."""
MOST_CALLS = 30
"""Calls after which it is, however short they are."""
LONG = 1.0
"""Seconds of a call from which falling throughput ends the search. While calls are shorter, larger sizes
cost little to measure, and what looks like the peak may be noise."""
SLOW = 0.8
"""Part of the best throughput below which two sizes in a row are past the peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One ubatch of the size to measure."""

    call: Callable[[], object]
    """Runs the function on it and waits until it is done; may be called again."""
    rows: int
    """Rows in it."""
    input_bytes: int
    """Bytes of its input."""


class Workbench(Protocol):
    """What measuring needs of the device."""

    @property
    def unit(self) -> str:
        """What sizes are counted in."""
        ...

    def part(self, size: int) -> Part:
        """A part of at most `size` units."""
        ...

    def mark(self) -> PeakMark | None:
        """Start measuring memory; None where it cannot be."""
        ...

    def out_of_memory(self, error: Exception) -> bool:
        """Whether `error` says that a part does not fit."""
        ...


def doubling(first: int, last: int) -> tuple[int, ...]:
    """first, 2 first, 4 first and so on up to and including `last`."""
    sizes = [min(first, last)]
    while sizes[-1] < last:
        sizes.append(min(last, sizes[-1] * 2))
    return tuple(sizes)


def measure_sizes(
    bench: Workbench, sizes: Sequence[int], clock: Callable[[], float], *, budget: int
) -> TuneReport:
    """Measure `sizes` (increasing units) in order, as far as the memory `budget` in bytes allows.

    Raises what the function raises, out-of-memory at the first size included, and ValueError for no size.
    """
    label = unit_label(bench.unit)
    points: list[TunePoint] = []
    stopped = "every size was measured"
    for size in sizes:
        part, bound = bench.part(size), predicted(points, size)
        needed = part.input_bytes if bound is None else bound
        if needed > budget and points:
            stopped = f"{size:,} {label} may need {needed:,} bytes, above the {budget:,} there are"
            break
        try:
            points.append(_measure(bench, part, size, clock, bound))
        except Exception as error:
            if not points or not bench.out_of_memory(error):
                raise
            stopped = f"{size:,} {label} ran out of memory"
            break
        if _past_the_peak(points):
            stopped = f"throughput falls from {_best(points).size:,} {label} on"
            break
    chosen = choose(points)
    best = f"{_best(points).rows_per_second:,.0f} {rate_label(bench.unit)}"
    reason = f"{chosen:,} {label} is the smallest size within {NEAR:.0%} of the best, {best}"
    return TuneReport(
        points=tuple(points),
        chosen=chosen,
        unit=bench.unit,
        reason=reason,
        stopped=stopped,
        budget_bytes=budget,
    )


def choose(points: Sequence[TunePoint]) -> int:
    """The smallest size within 5 % of the best throughput; raises ValueError without points.

    Throughput rises to a plateau and then falls slowly. On the plateau sizes differ by noise alone, and of
    those the smallest needs least memory.
    """
    least = _best(points).rows_per_second * (1 - NEAR)
    return min(point.size for point in points if point.rows_per_second >= least)


def _measure(
    bench: Workbench, part: Part, size: int, clock: Callable[[], float], bound: int | None
) -> TunePoint:
    """Call the part until it is measured well; the fastest call counts, as disturbance only makes slower."""
    mark = bench.mark()
    begin = clock()
    times: list[float] = []
    while len(times) < 2 or (clock() - begin < ENOUGH and len(times) < MOST_CALLS):  # the first call is cold
        start = clock()
        part.call()
        times.append(clock() - start)
    peak = None if mark is None else max(0, mark.peak() - mark.in_use)
    seconds = max(min(times), 1e-9)
    return TunePoint(
        size=size,
        rows=part.rows,
        seconds=seconds,
        rows_per_second=part.rows / seconds,
        peak_bytes=peak,
        predicted_bytes=bound,
    )


def _past_the_peak(points: Sequence[TunePoint]) -> bool:
    """Whether the last two sizes were so much slower than the best that larger ones need not be tried."""
    if len(points) < 3 or points[-1].seconds < LONG:
        return False
    return max(point.rows_per_second for point in points[-2:]) < _best(points).rows_per_second * SLOW


def _best(points: Sequence[TunePoint]) -> TunePoint:
    return max(points, key=lambda point: point.rows_per_second)
