"""Measure a function at growing sizes and choose one, without ever running a size that is not expected to fit.

Invariant: a size runs only if the peak predicted for it from the smaller ones is within the budget, and the smallest
only if its input is. Nothing here knows a device or a clock: the parts, the marks of memory and the time are given.
Rejected: bisecting between what fits and what fails, since on a host the size that fails ends the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from microbatch.extend.abilities import PeakMark

__all__ = ["Part", "TunePoint", "TuneReport", "Workbench", "doubling", "tune"]

NEAR = 0.05
"""Part of the best throughput by which a chosen size may be slower."""
MARGIN = 0.1
"""Least part that is added to a predicted peak."""
ENOUGH = 0.2
"""Seconds of calls after which a size is measured well enough."""
MOST_CALLS = 30
LONG = 1.0
"""Seconds of a call from which a size that is slower than a smaller one ends the search; before that larger ones cost
little, and what looks like the peak may be noise."""
SLOW = 0.8
"""Part of the best throughput below which two sizes in a row are past the peak."""
ALLOWANCE = 1 << 20
"""Bytes added to every prediction: less than this is the allocator's, not the function's."""


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

    def part(self, size: int) -> Part:
        """A part of at most `size` units."""
        ...

    def mark(self) -> PeakMark | None:
        """Start measuring memory; None where it cannot be."""
        ...

    def out_of_memory(self, error: Exception) -> bool:
        """Whether `error` says that a part does not fit."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TunePoint:
    """One size."""

    size: int
    """Units of a part."""
    rows: int
    """Rows in the part that was measured."""
    seconds: float
    """The fastest of its calls."""
    rows_per_second: float
    """Rows by that time."""
    peak_bytes: int | None
    """Highest memory above the start; None where the backend does not tell."""
    predicted_bytes: int | None
    """What the peaks before it said it would need at most, margin included; None for the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """What was measured, and the size to use; its fields are the keys of `--json` and stay."""

    points: tuple[TunePoint, ...]
    """Sizes in the order of measuring, smallest first."""
    chosen: int
    """The smallest size within 5 % of the best throughput."""
    unit: str
    """What sizes are counted in: rows, or cost (longest row times rows of a part)."""
    reason: str
    """Why that size."""
    stopped: str
    """Why no larger size was measured."""
    budget_bytes: int
    """Memory that no part may exceed."""


def doubling(first: int, last: int) -> tuple[int, ...]:
    """first, 2 first, 4 first and so on up to and including `last`."""
    sizes = [min(first, last)]
    while sizes[-1] < last:
        sizes.append(min(last, sizes[-1] * 2))
    return tuple(sizes)


def tune(
    bench: Workbench, sizes: Sequence[int], clock: Callable[[], float], *, budget: int, unit: str = "rows"
) -> TuneReport:
    """Measure `sizes` (increasing units) in order, as far as the memory `budget` in bytes allows.

    Raises what the function raises, out-of-memory at the first size included, and ValueError for no size.
    """
    points: list[TunePoint] = []
    label = "padded units" if unit == "cost" else unit
    stopped = "every size was measured"
    for size in sizes:
        part = bench.part(size)
        bound = predicted(points, size)
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
    best = _best(points)
    reason = f"{chosen:,} {label} is the smallest size within {NEAR:.0%} of the best, {best.rows_per_second:,.0f} rows/s"
    return TuneReport(
        points=tuple(points), chosen=chosen, unit=unit, reason=reason, stopped=stopped, budget_bytes=budget
    )


def choose(points: Sequence[TunePoint]) -> int:
    """The smallest size within 5 % of the best throughput; raises ValueError without points."""
    least = _best(points).rows_per_second * (1 - NEAR)
    return min(point.size for point in points if point.rows_per_second >= least)


def predicted(points: Sequence[TunePoint], size: int) -> int | None:
    """Bytes that `size` may need by the peaks of smaller sizes, None before the first peak.

    In proportion to the last peaks until three are known, which is too much for all that has a fixed cost; then a line
    weighted by size through them, from the last peak on at least. On top come 1 MiB and 10 %, or the worst miss of
    the earlier predictions where that is more.
    """
    known = [(point.size, point.peak_bytes) for point in points if point.peak_bytes]
    if not known:
        return None
    last, peak = known[-1]
    value = size * max(bytes_ / of for of, bytes_ in known[-3:])
    if len(known) >= 3:
        fixed, slope = _line(known)
        value = max(fixed + slope * size, peak + slope * (size - last))
    misses = [
        point.peak_bytes / point.predicted_bytes - 1
        for point in points
        if point.peak_bytes and point.predicted_bytes
    ]
    return int((1 + max([MARGIN, *misses])) * max(value, peak) + ALLOWANCE)


def _line(known: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """(bytes at size 0, bytes per unit) of the line through the peaks, each weighted by its size."""
    weight = sum(size for size, _ in known)
    middle = sum(size * size for size, _ in known) / weight
    height = sum(size * peak for size, peak in known) / weight
    spread = sum(size * (size - middle) ** 2 for size, _ in known)
    slope = sum(size * (size - middle) * (peak - height) for size, peak in known) / spread if spread else 0.0
    slope = max(slope, 0.0)
    return height - slope * middle, slope


def _measure(
    bench: Workbench, part: Part, size: int, clock: Callable[[], float], bound: int | None
) -> TunePoint:
    mark = bench.mark()
    begin = clock()
    times: list[float] = []
    while len(times) < 2 or (clock() - begin < ENOUGH and len(times) < MOST_CALLS):
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
    least = _best(points).rows_per_second * SLOW
    return (
        len(points) > 2
        and points[-1].seconds >= LONG
        and all(point.rows_per_second < least for point in points[-2:])
    )


def _best(points: Sequence[TunePoint]) -> TunePoint:
    return max(points, key=lambda point: point.rows_per_second)
