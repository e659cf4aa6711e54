"""More and smaller parts for a step whose memory is short, or is not known yet.

Invariant: a part that is cut further holds the outputs of all its rows beside the result until it is stored.
So no planned part that is cut further has more than a 32nd of the rows, and its outputs are counted. Seen
where this was not so: two halves of a batch held a second result between them. Rows in an order of their own
(packed) stay in the parts that they were sorted into.
"""

from __future__ import annotations

from msgspec.structs import replace

from microbatch.cutting.cut import cut
from microbatch.schedules.streamed import SLOTS
from microbatch.sizing.pace_bounds import PARTS
from microbatch.sizing.plan import Plan
from microbatch.sizing.units import part_units
from microbatch.step.planned import Planned

AT_ONCE = 1024
"""Most parts that a part is cut into at once; each of them is cut again where it is still too large. A part
takes 500 bytes of Python, and of a batch of millions of rows each row would be one."""
PILOT_ROWS = 16
"""Rows of the first part of a step that is planned as it goes, where it shows what a row needs."""
LARGEST = "largest_part"
"""Under which name a cut knows the rows of its largest part."""


def largest_part(planned: Planned) -> int:
    """Rows of the largest planned part."""
    made, pace = planned.plan.cut, planned.plan.pace
    if pace is not None:
        return pace.most
    if made is None:
        return planned.rows
    if LARGEST not in made.known:  # asked several times a step
        made.known[LARGEST] = max(1, *[piece.num_tokens for piece in made.slices])
    return int(made.known[LARGEST])


def side_by_side(planned: Planned) -> int:
    """Parts that are planned to be alive at the same time."""
    plan = planned.plan
    if plan.cut is None:
        return 1
    most = {"streamed": SLOTS, "pingpong": _together(plan)}.get(planned.schedule, plan.workers)
    return max(1, min(len(plan.cut.slices), most))


def size_cut_further(planned: Planned, bound: int) -> int:
    """Rows of a part once no call may have more than `bound` rows."""
    largest = largest_part(planned)
    if planned.plan.cut is None or planned.plan.cut.permutation is not None:
        return largest
    return min(largest, max(bound, -(-planned.rows // PARTS)))


def size_at_once(rows: int, bound: int) -> int:
    """Rows of the parts that a part of `rows` rows is cut into, on the way to calls of `bound` rows."""
    return max(1, bound, -(-rows // AT_ONCE))


def in_finer_parts(planned: Planned, bound: int) -> Planned:
    """The step in as many parts as it takes that none has more than `size_cut_further` rows."""
    most = size_cut_further(planned, bound)
    if most == largest_part(planned):
        return planned
    plan = planned.plan
    if plan.pace is not None and most >= plan.pace.start:
        pace = replace(plan.pace, most=1 << most.bit_length() - 1)
        return replace(planned, plan=replace(plan, pace=pace, limit=pace.most))
    made = cut(planned.batch.shape, splitter=planned.cuttable.parts().splitter, limit=most)
    sizes = part_units(made, plan.unit)
    return replace(
        planned,
        plan=replace(plan, cut=made, sizes=sizes, limit=max(sizes), together=_together(plan), pace=None),
    )


def with_pilot(planned: Planned) -> Planned:
    """The step with a first part of so many rows that a few of them show what one needs.

    Of a first part of one row nothing is known but what the first call of all takes.
    """
    pace = planned.plan.pace
    if pace is None or pace.start >= PILOT_ROWS:
        return planned
    pace = replace(pace, start=min(PILOT_ROWS, pace.most))
    return replace(planned, plan=replace(planned.plan, pace=pace))


def _together(plan: Plan) -> int:
    """Ubatches that are alive at the same time where they take turns: as many as before there were more."""
    assert plan.cut is not None
    return plan.together or len(plan.cut.slices)
