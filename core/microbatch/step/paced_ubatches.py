"""The ubatches of a step whose sizes follow the times of those before: each is planned when it is taken.

Invariant: as in `queued_ubatches.py`. Asking a ubatch how many there are settles the sizes of the rest, so
that all of them are told the same.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from microbatch.cutting.planned_parts import EachOf, PlannedParts
from microbatch.cutting.slices import Cut, UBatchSlice
from microbatch.gathering.row_places import RowPlaces
from microbatch.sizing.pace import Pace
from microbatch.sizing.pace_bounds import PaceBounds
from microbatch.step.planned import Planned
from microbatch.step.queued_ubatches import QueuedUbatches
from microbatch.step.ubatches import Running
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime


class PacedContext(UBatchContext):
    """The context of a ubatch that was just planned."""

    __slots__ = ("_planned",)

    def __init__(self, planned: PlannedParts, number: int, runtime: Runtime) -> None:
        super().__init__(planned[number], number, runtime=runtime)
        self._planned = planned

    @property
    def num_ubatches(self) -> int:
        """How many ubatches the step has. Asking plans all that are left, in parts of one size."""
        return self._planned.plan_all()

    @num_ubatches.setter
    def num_ubatches(self, count: int) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """It is not for the constructor to say."""

    def __repr__(self) -> str:
        return f"<ubatch {self.ubatch_id}, {self.state.name}, {self.slice_info}>"  # to look plans nothing


class Pacing(Struct, frozen=True):
    """One step that is planned as it goes."""

    cut: Cut
    """Its cut, which grows; rows find their place by it all the same."""
    parts: PlannedParts
    """The parts of the cut."""
    pace: Pace
    """Says how large they are."""


def pacing_of(planned: Planned, bounds: PaceBounds) -> Pacing:
    """The step, of which nothing is planned yet.

    The part with the first of the rows that have shown whether it may be cut is a large one (`Pace.checked`).
    What was shown with 12 rows is then compared with many at once: a function that has another way for
    small batches is found so.
    """
    verdict = planned.cuttable.verdict
    bounds = bounds.above(1 if verdict is None else verdict.fewest)
    rows = planned.rows
    pace = Pace(bounds, planned.plan.workers, rows)
    evidence = planned.cuttable.evidence
    tried = -1 if evidence is None else evidence.first_row

    def next_size(left: int) -> int:
        start, size = rows - left, pace.size(left)
        return min(pace.checked(), left) if start <= tried < start + size else size

    parts = PlannedParts(rows, next_size, fewest=bounds.fewest, most=bounds.most)
    made = Cut(slices=parts)
    for unit in ("tokens", "requests"):
        made.known[unit] = RowPlaces(
            unit=unit,
            total=rows,
            counts=EachOf(parts, _rows),
            ranges=EachOf(parts, _range),
            order=None,
        )
    return Pacing(made, parts, pace)


class PacedUbatches(QueuedUbatches):
    """What a schedule takes, loads, computes and stores."""

    __slots__ = ("_pace", "_planned")

    def __init__(self, running: Running, pacing: Pacing) -> None:
        super().__init__(running)
        self._planned = pacing.parts
        self._pace = pacing.pace

    def store(self, context: UBatchContext, outputs: Any) -> None:
        """Write the outputs to their rows of the result, and let the pace know how long it took."""
        super().store(context, outputs)
        self._pace.ran(context.slice_info.num_tokens, self._ended[context.ubatch_id])

    def all_stored(self) -> bool:
        """Whether every row is in the result."""
        return self._planned.complete and super().all_stored()

    def tell(self) -> None:
        """Put sizes and times into the record of the step, those too that it has not come to."""
        self._planned.plan_all()
        self._outcome.sizes = tuple(map(_rows, self._planned))
        self._outcome.pace = self._pace.found()
        super().tell()

    def _take(self) -> int | None:
        return self._planned.take()

    def _requests_ended(self, index: int) -> int:
        return self._planned[index].num_tokens

    def _context(self, number: int) -> UBatchContext:
        return PacedContext(self._planned, number, self._runtime)


def _rows(piece: UBatchSlice) -> int:
    return piece.num_tokens


def _range(piece: UBatchSlice) -> slice:
    return piece.token_slice
