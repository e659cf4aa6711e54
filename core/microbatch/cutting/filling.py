"""Ranges of consecutive items within a budget: as few as possible, or a given number as equal as possible.

Invariant: every range has at least one item, and one that is above the budget has exactly one, so nothing is
starved. A cost is described by `reach`: the furthest end of a range that starts at an item and keeps the
budget; it never falls when the start moves on or the budget grows, and so filling greedily needs the fewest
ranges.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

__all__ = ["Reach", "balanced", "fill", "padded_reach", "smallest_budget", "sum_reach"]

Reach = Callable[[int, int], int]
"""reach(start, budget) -> end of the longest range from `start` within the budget.

It is above `start`, and it may be beyond the last item."""


def sum_reach(edges: Sequence[int]) -> Reach:
    """The cost of a range is the sum of its items; `edges` are their cumulative sums, from 0."""

    def reach(start: int, budget: int) -> int:
        # the last edge that is not beyond the budget; at least one item, also where it alone is above it
        return max(start + 1, bisect_right(edges, edges[start] + budget, start) - 1)

    return reach


def padded_reach(lengths: Sequence[int]) -> Reach:
    """The cost of a range is its longest item times their number; `lengths` fall and are at least 1."""

    def reach(start: int, budget: int) -> int:
        # lengths fall, so the first row of a range is its longest
        return start + (budget // lengths[start] or 1)

    return reach


def fill(reach: Reach, num_items: int, budget: int, most: int | None = None) -> list[int]:
    """Ends of the fewest ranges within `budget`; one end more than `most` when these are not enough."""
    ends: list[int] = []
    start = 0
    while start < num_items:
        start = reach(start, budget)
        ends.append(start)
        if len(ends) == most:
            break
    if not ends:
        return ends
    if start < num_items:
        return [*ends, num_items]
    ends[-1] = num_items
    return ends


def smallest_budget(reach: Reach, num_items: int, count: int, low: int, high: int) -> int:
    """The smallest budget from `low` to `high` for which `count` ranges are enough; `high` must be one."""
    while low < high:
        middle = (low + high) // 2
        if len(fill(reach, num_items, middle, count)) > count:
            low = middle + 1
        else:
            high = middle
    return low


def balanced(reach: Reach, num_items: int, count: int, low: int, high: int) -> list[int]:
    """Ends of exactly `count` ranges, the costliest as cheap as can be; needs `count` <= `num_items`.

    `low` is the cost of the costliest item, `high` that of all in one range.
    """
    budget = smallest_budget(reach, num_items, count, low, high)
    ends: list[int] = []
    start = 0
    for left in range(count - 1, -1, -1):
        start = min(reach(start, budget), num_items - left)  # one item for each range that follows
        ends.append(start)
    return ends
