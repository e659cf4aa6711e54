"""Where the critical path of a step lies: what would have to be shorter for the step to be shorter.

Invariant: the path covers the step from its end back to its start, so its shares sum to one. It goes from a
bar to the one that ended last before it began; of several the one of the same ubatch, then of the same lane,
then the longest. Waits are not on it: while somebody waits, the path is at what is waited for. Time in which
nothing was recorded is `other`: planning, showing that the function may be cut, passing turns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from microbatch.timeline.bars import AROUND, WAITING, Bar
from microbatch.timeline.intervals import Interval

OTHER = "other"
"""The name of time in which no bar is."""


def path_of(bars: Sequence[Bar], span: Interval) -> dict[str, float]:
    """Seconds of each phase on the critical path through `span`; what ends after it is not on it."""
    start, time = span
    work = sorted(
        (bar for bar in bars if bar.phase not in WAITING | AROUND and bar.end > bar.start),
        key=lambda bar: bar.end,
    )
    ends = [bar.end for bar in work]
    seconds: dict[str, float] = {}
    current: Bar | None = None
    while time > start:
        found = _before(work, bisect_right(ends, time), current)
        if found is None or found.end <= start:
            seconds[OTHER] = seconds.get(OTHER, 0.0) + time - start
            break
        if found.end < time:
            seconds[OTHER] = seconds.get(OTHER, 0.0) + time - found.end
        begin = max(found.start, start)
        seconds[found.phase] = seconds.get(found.phase, 0.0) + found.end - begin
        time, current = begin, found
    return seconds


def _before(work: Sequence[Bar], place: int, after: Bar | None) -> Bar | None:
    """The bar that ends last among the first `place`; `after` is the one that comes next on the path."""
    if not place:
        return None
    end = work[place - 1].end
    best = work[place - 1]
    for at in range(place - 1, -1, -1):
        bar = work[at]
        if bar.end < end:
            break
        if _rank(bar, after) > _rank(best, after):
            best = bar
    return best


def _rank(bar: Bar, after: Bar | None) -> tuple[bool, bool, float]:
    same_step = after is not None and after.step == bar.step
    return (
        same_step and after is not None and after.ubatch == bar.ubatch,
        after is not None and after.lane == bar.lane,
        bar.seconds,
    )
