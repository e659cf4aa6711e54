"""Calls that need more memory than a limit leaves them, in a limited address space and in a control group.

Invariant: where the plain function dies or raises, the wrapped one answers, and right. Both run in processes
of their own. A case in which the plain function lives shows nothing, and is a failure of the case. Where no
control group can be made, cases are counted as run without one.
"""

from __future__ import annotations

from random import Random

from tests.campaign.records import Found
from tests.support.limited_memory import Ending, draw, run_case, why_no_groups

LEFT = frozenset({"threads", "descriptors"})


def begin() -> None:
    """Nothing is made once a process."""


def case(draw_from: Random) -> Found:
    """One drawn function, called under either limit."""
    drawn, groups = draw(draw_from), not why_no_groups()
    endings = [run_case(drawn, in_group=in_group) for in_group in ((False, True) if groups else (False,))]
    kind = "in a control group" if groups else "without a control group"
    return Found(
        units={"calls": 1, "in an address space": 1, kind: 1},
        failures=tuple(text for ending in endings if (text := _wrong(ending))),
    )


def _wrong(ending: Ending) -> str:
    """What is not as promised; empty where all is."""
    if not ending.plain_died:
        return f"the plain call fitted, so this shows nothing: {ending.text}"
    return "" if ending.right else f"the wrapped call did not answer: {ending.text}"
