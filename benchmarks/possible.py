"""What was possible: a row that compares ours with the best loop by hand of any kind, and with no loop.

Where an aim against the plain call is missed, this row says whether a loop by hand reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.hand_loops import Work, variants
from benchmarks.table import Row, ratio_row
from benchmarks.timing import Variant, interleave

AT_LEAST = 0.97
"""Part of the speed of the best by hand that ours is to have: two medians of one thing differ by 3 %."""


def by_hand(
    work: str, loops: Work, sizes: Sequence[int], ours: Variant, same: Callable[[Any, Any], bool]
) -> Row:
    """Ours, settled, against the best of the plain call and of loops whose result is made for each call."""
    rivals = {name: loop for name, loop in variants(loops, sizes).items() if "kept" not in name}
    plain = {"plain": lambda: loops.function(*loops.inputs)}
    timed = interleave({**plain, "ours": ours, **rivals}, rounds=9, same=same)
    best = min((each for name, each in timed.items() if name != "ours"), key=lambda each: each.median)
    return ratio_row(
        work,
        "the best loop by hand, or the plain call",
        at_least=AT_LEAST,
        base=best.median,
        ours=timed["ours"].median,
        details={"best": best.name},
    )
