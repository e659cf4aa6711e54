"""Ranges of consecutive items within a budget: as few as possible, or a given number as equal as possible.

Invariant: every range has at least one item, and one that is above the budget has exactly one, so nothing is
starved. A cost is described by `reach`: the furthest end of a range that starts at an item and keeps the
budget; it never falls when the start moves on or the budget grows, and so filling greedily needs the fewest
ranges.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from microbatch.cutting.slices import PartsWanted
from microbatch.errors import SliceError

Reach = Callable[[int, int], int]
"""reach(start, budget) -> end of the longest range from `start` within the budget.

It is above `start`, and it may be beyond the last item."""


def sum_reach(edges: Sequence[int]) -> Reach:
    """The cost of a range is the sum of its items; `edges` are their cumulative sums, from 0."""
    # the last edge that is not beyond the budget; at least one item, also where it alone is above it
    return lambda start, budget: max(start + 1, bisect_right(edges, edges[start] + budget, start) - 1)


def padded_reach(lengths: Sequence[int]) -> Reach:
    """The cost of a range is its longest item times their number; `lengths` fall and are at least 1."""
    # lengths fall, so the first row of a range is its longest
    return lambda start, budget: start + (budget // lengths[start] or 1)


def check_ubatches(count: int, max_ubatches: int, why: str) -> None:
    """Raise SliceError if `count` ubatches, which `why` asks for, are above the cap."""
    if count > max_ubatches:
        raise SliceError(
            f"{why} makes {count} ubatches, above the cap of {max_ubatches}; "
            "make them larger, or raise max_ubatches"
        )


def check_fillable(count: int, num_items: int, item: str) -> None:
    """Raise SliceError if `count` ubatches cannot each have one of `num_items` items."""
    if count > num_items:
        items = f"{num_items} {item}{'s' * (num_items != 1)}"
        raise SliceError(
            f"ubatch {num_items} would be empty: {items} cannot fill {count} ubatches; "
            f"use at most {num_items}"
        )


def fill(reach: Reach, num_items: int, budget: int, most: int | None = None) -> list[int]:
    """Ends of the fewest ranges within `budget`; one end more than `most` when these are not enough."""
    ends: list[int] = []
    start = 0
    while start < num_items and len(ends) != most:
        start = reach(start, budget)
        ends.append(start)
    return [*(ends if start < num_items else ends[:-1]), num_items]


def smallest_budget(reach: Reach, num_items: int, count: int, low: int, high: int) -> int:
    """The smallest budget from `low` to `high` for which `count` ranges are enough; `high` must be one."""
    while low < high:
        middle = (low + high) // 2
        if len(fill(reach, num_items, middle, count)) > count:
            low = middle + 1
        else:
            high = middle
    return low


def filled(reach: Reach, num_items: int, wanted: PartsWanted, budgets: tuple[int, int]) -> list[int]:
    """Ends of the parts that are wanted; `budgets` are the costs of the costliest item and of all in one."""
    count, limit = wanted.count, wanted.limit
    if count:
        check_fillable(count, num_items, "request")
        low, high = budgets
        if limit is None or limit >= high:
            return _balanced(reach, num_items, count, low, high)
        if len(fill(reach, num_items, limit, count)) <= count:
            # an item above the limit is alone, and says nothing of how large the other ranges must be
            return _balanced(reach, num_items, count, low if low <= limit else 1, limit)
    assert limit is not None
    ends = fill(reach, num_items, limit)
    check_ubatches(len(ends), wanted.max_ubatches, f"limit {limit}")
    return ends


def _balanced(reach: Reach, num_items: int, count: int, low: int, high: int) -> list[int]:
    """Ends of exactly `count` ranges, the costliest as cheap as can be; needs `count` <= `num_items`."""
    budget = smallest_budget(reach, num_items, count, low, high)
    ends: list[int] = []
    start = 0
    for left in range(count - 1, -1, -1):
        start = min(reach(start, budget), num_items - left)  # one item for each range that follows
        ends.append(start)
    return ends
