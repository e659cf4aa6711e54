"""How many bytes a size may need, by the measured peaks of smaller sizes.

Invariant: the answer errs upwards: it decides what may run where running out of memory ends the process.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microbatch.tuning.report import TunePoint

MARGIN = 0.1
"""Least part that is added to a predicted peak."""
ALLOWANCE = 1 << 20
"""Bytes added to every prediction: less than this is the allocator's, not the function's."""
ENOUGH_PEAKS = 3
"""Peaks from which a line is drawn; through two, noise alone can point it down."""


def predicted(points: Sequence[TunePoint], size: int) -> int | None:
    """Bytes that `size` may need; None before the first peak.

    Up to three peaks, the steepest of them in proportion to size: too much for all that has a fixed cost,
    never too little. From then on a line through all peaks, begun at the last one at least. On top come 1 MiB
    and 10 %, or the worst miss of the earlier predictions where that is more.
    """
    peaks = [(point.size, point.peak_bytes) for point in points if point.peak_bytes]
    if not peaks:
        return None
    last, peak = peaks[-1]
    value = size * max(bytes_ / of_size for of_size, bytes_ in peaks[-ENOUGH_PEAKS:])
    if len(peaks) >= ENOUGH_PEAKS:
        fixed, slope = _line(peaks)
        value = max(fixed + slope * size, peak + slope * (size - last))
    judged = [(point.peak_bytes, point.predicted_bytes) for point in points]
    misses = [bytes_ / bound - 1 for bytes_, bound in judged if bytes_ and bound]
    return int((1 + max([MARGIN, *misses])) * max(value, peak) + ALLOWANCE)


def _line(peaks: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """(bytes at size 0, bytes per unit) of the least-squares line through the peaks, which never falls.

    A peak weighs as much as its size: sizes double, so unweighted the many small ones, whose peaks are mostly
    noise of the allocator, would set the slope that the next, largest size is judged by.
    """
    sizes, bytes_ = np.array(peaks, float).T
    slope = max(float(np.polyfit(sizes, bytes_, 1, w=np.sqrt(sizes))[0]), 0.0)
    return float(np.average(bytes_ - slope * sizes, weights=sizes)), slope
