"""The surroundings of ubatches: what `ambient=` gives is entered around each while it runs.

Invariant: what an engine keeps in a global follows the ubatch under every schedule. Where ubatches take turns
that is the work of their seats (`turns/ambient.py`); elsewhere they are entered once, around the call of the
function. Threads share a global, so `auto` does not run ubatches with surroundings side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from microbatch.schedules.step import Step
from microbatch.turns.ambient import SurroundedSeat, Surroundings
from microbatch.turns.context import UBatchContext
from microbatch.turns.seat import Seat


def surround(seats: Sequence[Seat], step: Step) -> Sequence[Seat]:
    """`seats` with the surroundings of `step`, if it has any."""
    ambient = step.ambient
    if ambient is None:
        return seats
    return [
        SurroundedSeat(
            seat.ubatch, seat.index, seat.ring, seat.streams, seat.left,
            Surroundings(ambient, context.slice_info, context.ubatch_id),
        )
        for seat, context in zip(seats, step.contexts, strict=True)
    ]  # fmt: skip


def surrounded(step: Step) -> Step:
    """`step` with its surroundings, if it has any, around each call of `compute`."""
    ambient, compute = step.ambient, step.compute
    if ambient is None:
        return step

    def inside(context: UBatchContext, arguments: Any) -> Any:
        surroundings = Surroundings(ambient, context.slice_info, context.ubatch_id)
        try:
            try:
                surroundings.enter()
                return compute(context, arguments)
            finally:
                surroundings.leave()
        finally:
            surroundings.leave()  # again: an interrupt may have come just before the first one

    return replace(step, compute=inside, ambient=None)
