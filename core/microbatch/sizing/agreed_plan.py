"""The plan of one rank, changed to the number of calls that all ranks have agreed on.

Invariant: all ranks call the function equally often, none with a part above the limit of its own plan, and
nothing here raises, since the other ranks begin their step now. Ranks whose batches have equal sizes have
equal parts, as a collective over rows needs. Parts that cannot be filled (too few rows, requests that are not
cut, slices that the caller named) are made up for by dummies: the last part once more, its outputs dropped.
Without rows that is the call on no rows, which the plain function would have been given.

Rejected: padding a part with rows, which the function could tell from the number of its rows, and dummies of
zeros, on which a function may fail or search for ever.
"""

from __future__ import annotations

from msgspec.structs import replace

from microbatch.cutting.cut import BALANCE, cut, most_ubatches
from microbatch.cutting.slices import BatchShape, Cut, UBatchSlice
from microbatch.errors import SliceError
from microbatch.sizing.agreement import Agreed, number_of
from microbatch.sizing.plan import Plan
from microbatch.sizing.units import part_units


def shape_number(plan: Plan, shape: BatchShape, splitter: str, multiple_of: int = 1) -> int:
    """A number for everything that decides how the batch is cut into a given number of parts."""
    values = [None if array is None else array.tobytes() for array in (shape.query_start_loc, shape.lengths)]
    named, rule = plan.cut if plan.fixed else None, (splitter, multiple_of)
    return number_of(shape.num_tokens, shape.num_requests, *values, named, rule)


def in_count(plan: Plan, shape: BatchShape, splitter: str, agreed: Agreed, multiple_of: int = 1) -> Plan:
    """`plan` for the calls that were `agreed` on, which are never fewer than its own parts."""
    own = max(1, len(plan.sizes))
    made = None if plan.fixed or agreed.count < 2 else _made(plan, shape, splitter, agreed, multiple_of)
    if made is not None:
        sizes = part_units(made, plan.unit)
        plan = replace(plan, cut=made, sizes=sizes, limit=max(sizes))
    real = plan.cut if plan.cut is not None and plan.cut.slices else None
    parts = 1 if real is None else len(real.slices)
    calls = max(agreed.count, parts)
    return replace(
        plan,
        cut=real or (None if calls == 1 else whole_cut(shape)),
        sizes=plan.sizes or (0,),
        reason=plan.reason if calls == own else _joined(plan.reason, calls, calls - parts),
        together=agreed.together,
        dummies=calls - parts,
        fixed=True,
    )


def whole_cut(shape: BatchShape) -> Cut:
    """The cut with one part; it may have no rows."""
    return Cut(slices=(UBatchSlice.from_range(0, shape.num_tokens, 0, shape.num_requests),))


def _made(plan: Plan, shape: BatchShape, splitter: str, agreed: Agreed, multiple_of: int) -> Cut | None:
    """As many parts as were agreed on and can be filled; None where those of the plan are to stay.

    Batches of equal sizes are cut by the lowest limit of all, into equal parts: more than were agreed on, if
    the limit needs them (parts of `floor` are uneven), and inside of a request only where that alone keeps
    it, as a plan by number may. Others keep their own limit, and the number.
    """
    if agreed.count == len(plan.sizes) and (splitter == "even" or not agreed.alike):
        return None  # by far the commonest, and it would be cut the same way
    filled_by = "packed" if splitter == "request-aligned" else splitter
    most = min(agreed.count, most_ubatches(shape, filled_by, multiple_of))
    if most < 1:
        return None
    if agreed.alike:
        between = _cut(shape, splitter, (most, agreed.limit, multiple_of), balance=0)
        if between is None or _fits(between, plan.unit, agreed.limit):
            return between
        inside = _cut(shape, splitter, (agreed.count, agreed.limit, multiple_of), balance=BALANCE)
        return inside if inside is not None and _fits(inside, plan.unit, agreed.limit) else between
    made = _cut(shape, splitter, (most, None, multiple_of), balance=0)
    if made is None or not _fits(made, plan.unit, plan.limit):
        return None
    return made if len(plan.sizes) <= len(made.slices) <= agreed.count else None


def _cut(
    shape: BatchShape, splitter: str, wanted: tuple[int, int | None, int], *, balance: float
) -> Cut | None:
    """The cut into the number, limit and multiple that are `wanted`; None where it cannot be filled."""
    count, limit, multiple = wanted
    try:
        return cut(
            shape, splitter=splitter, num_ubatches=count, limit=limit, balance=balance, multiple_of=multiple
        )
    except SliceError:
        return None


def _fits(made: Cut, unit: str, limit: int | None) -> bool:
    """Whether no part is above `limit`."""
    return limit is None or max(part_units(made, unit)) <= limit


def _joined(reason: str, calls: int, dummies: int) -> str:
    """The reason of the plan, and what came of the other ranks."""
    note = f"{calls} calls agreed with other ranks" + (f", {dummies} of them dummies" if dummies else "")
    return f"{reason}; {note}" if reason else note
