"""Stretches of time: joined, clipped and measured.

Invariant: intervals are (start, end) with start <= end; what `joined` returns is in order, apart from each
other, and covers what it was given and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Interval = tuple[float, float]


def joined(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time without overlaps, in order."""
    made: list[Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if made and start <= made[-1][1]:
            made[-1] = made[-1][0], max(made[-1][1], end)
        else:
            made.append((start, end))
    return made


def length(intervals: Iterable[Interval]) -> float:
    """Seconds of intervals that do not overlap."""
    return sum(end - start for start, end in intervals)


def common(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """The time that is in both; each is joined."""
    made, place = [], 0
    for start, end in one:
        while place < len(other) and other[place][1] <= start:
            place += 1
        at = place
        while at < len(other) and other[at][0] < end:
            made.append((max(start, other[at][0]), min(end, other[at][1])))
            at += 1
    return made
