"""The ubatches of a step whose sizes follow the times of those before: each is made when somebody takes it.

Invariant: as in `ubatches.py`; only those that are taken and not stored are kept, however many there are.
Asking a ubatch how many there are settles the sizes of the rest, so that all of them are told the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from microbatch.cutting.planned_parts import EachOf, PlannedParts
from microbatch.cutting.slices import Cut, UBatchSlice
from microbatch.gathering.row_places import RowPlaces
from microbatch.schedules.step import Queue
from microbatch.sizing.pace import Pace, PaceBounds
from microbatch.step.planned import Planned
from microbatch.step.ubatches import Running, Ubatches
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime
from microbatch.turns.state import UBatchState


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


@dataclass(frozen=True, slots=True)
class Pacing:
    """One step that is planned as it goes."""

    cut: Cut
    """Its cut, which grows; rows find their place by it all the same."""
    parts: PlannedParts
    """The parts of the cut."""
    pace: Pace
    """Says how large they are."""


def pacing_of(planned: Planned, bounds: PaceBounds) -> Pacing:
    """The step, of which nothing is planned yet.

    The part with the first of the rows that have shown whether it may be cut is as large as parts may be.
    What was shown with 12 rows is then compared with many at once: a function that has another way for
    small batches is found so.
    """
    rows, pace = planned.rows, Pace(bounds, planned.plan.workers)
    evidence = planned.cuttable.evidence
    tried = -1 if evidence is None else evidence.first_row

    def next_size(left: int) -> int:
        start, size = rows - left, pace.size(left)
        return min(bounds.most, left) if start <= tried < start + size else size

    parts = PlannedParts(rows, next_size)
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


class PacedUbatches(Ubatches):
    """What a schedule takes, loads, computes and stores."""

    __slots__ = ("_closed", "_ended", "_open", "_pace", "_planned")

    def __init__(self, running: Running, pacing: Pacing) -> None:
        super().__init__(running)
        self._planned = pacing.parts
        self._pace = pacing.pace
        self._closed = False
        self._open: dict[int, UBatchContext] = {}
        """Those that were taken and are not stored."""
        self._started = {}
        self._ended: dict[int, float] = {}
        """Seconds of each that was stored."""

    @property
    def queue(self) -> Queue:
        """Where a schedule takes them from."""
        return self

    def popleft(self) -> UBatchContext:
        """The next one; raises IndexError where none is left."""
        number = None if self._closed else self._planned.take()
        if number is None:
            raise IndexError
        return self._made(number)

    def clear(self) -> None:
        """Give none from now on."""
        self._closed = True

    def store(self, context: UBatchContext, outputs: Any) -> None:
        """Write the outputs to their rows of the result, and let the pace know how long it took."""
        number, rows = context.ubatch_id, context.slice_info.num_tokens
        self._parts.store(number, outputs)
        context.advance(UBatchState.COMPLETED)
        seconds = self._ended[number] = self._clock() - self._started.pop(number)
        self._pace.ran(rows, seconds)
        self._open.pop(number, None)
        if self._count is not None:
            self._count.add(rows)

    def all_stored(self) -> bool:
        """Whether every row is in the result."""
        return self._planned.complete and len(self._ended) == len(self._planned)

    def unfinished(self) -> Iterator[UBatchContext]:
        """New contexts for those that were begun and not stored, then those that nobody has taken."""
        self._closed = False
        for number in sorted(self._open):
            yield self._made(number)
        while True:
            try:
                context = self.popleft()
            except IndexError:
                return
            yield context

    def tell(self) -> None:
        """Put sizes and times into the record of the step, those too that it has not come to."""
        count, outcome = self._planned.plan_all(), self._outcome
        outcome.sizes = tuple(map(_rows, self._planned))
        outcome.seconds = [self._ended.get(number, 0.0) for number in range(count)]
        outcome.pace = self._pace.found()

    def _made(self, number: int) -> UBatchContext:
        context = self._open[number] = PacedContext(self._planned, number, self._runtime)
        return context


def _rows(piece: UBatchSlice) -> int:
    return piece.num_tokens


def _range(piece: UBatchSlice) -> slice:
    return piece.token_slice
