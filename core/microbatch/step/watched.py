"""What one step is held to for its memory, and what is known of its kind.

Invariant: what all parts in flight hold is within the budget: the result, the rows of each call, and the
outputs of parts that are cut further.
"""

from __future__ import annotations

from msgspec import Struct

from microbatch.extend.abilities import PeakMark, SupportsPeak
from microbatch.step.finer_parts import largest_part, side_by_side, size_cut_further
from microbatch.step.planned import Planned


class Need(Struct, kw_only=True):
    """What the batches of one signature were measured to need."""

    per_row: float = 0.0
    """Peak bytes above the start for each row in flight."""
    result_per_row: float = 0.0
    """Bytes of result per row."""
    largest: int = 0
    """Most rows in flight that were measured."""
    steps: int = 0
    """Steps that were measured."""


class Tried(Struct, frozen=True, kw_only=True):
    """Calls of a few rows before the first step. What they take is kept by the process, and a part that needs
    less shows nothing."""

    rows: int
    """Rows of the largest."""
    peak: int
    """Bytes that they took at once, what was loaded meanwhile included."""

    def per_row(self, used: int, rows: int) -> float:
        """Bytes of a row, where a part of `rows` rows was seen to take `used` more."""
        if rows > self.rows:  # what a part took for itself and what was there count for all of its rows
            return (used + self.peak) / rows
        return max(used / rows, self.peak / self.rows)


NOTHING_TRIED = Tried(rows=1, peak=0)


class Watched(Struct, frozen=True, kw_only=True):
    """What one watched step is held to, and what it is measured with."""

    planned: Planned
    """The step, in finer parts where they are to be cut further."""
    need: Need
    """What is known of its kind, and where what it teaches goes."""
    peaks: SupportsPeak
    """Measures a stretch of work."""
    mark: PeakMark | None
    """Taken at the start of the step; None where this step is bounded and not measured."""
    budget: int
    """Bytes that it may use above its start."""
    bound: int | None
    """Most rows of a part; None where the plan keeps within the budget as it is."""
    pilot: bool
    """Whether nothing is known yet: the first part runs alone, in small parts."""
    given_result: bool
    """Whether the result goes to memory of the caller's, which does not count."""
    telling: bool
    """Whether the peak of the step tells what its parts need. A pipeline has pages of files in it too, which
    its threads read and write meanwhile: 120 times what the parts needed was seen."""
    tried: Tried = NOTHING_TRIED
    """What the calls took that showed whether the batch may be cut."""

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return self.planned.rows

    @property
    def size(self) -> int:
        """Rows of the largest planned part."""
        return largest_part(self.planned)

    @property
    def side(self) -> int:
        """Parts that run at the same time."""
        return side_by_side(self.planned)

    def most(self, room: float, side: int) -> int:
        """Most rows of a call, where `side` of them share `room` bytes with what their parts hold."""
        return most_rows(self.planned, self.need, room, side)


def most_rows(planned: Planned, need: Need, room: float, side: int) -> int:
    """Most rows of a call, where `side` of them share `room` bytes.

    Where that is less than their parts have, the outputs of a whole part are in there too, and in a pipeline
    a copy of its inputs.
    """
    a_row, cut_further = max(need.per_row, 1.0) * side, planned.plan.cut is not None
    most = max(1, int(room / a_row))
    if not cut_further or most >= largest_part(planned):
        return most
    kept = need.result_per_row + (planned.batch.bytes_per_unit if planned.schedule == "streamed" else 0)
    held = side * size_cut_further(planned, most) * kept
    return max(1, int((room - held) / a_row))


def planned_bound(need: Need, planned: Planned, budget: int, *, given_result: bool) -> int | None:
    """Most rows of a call: what the budget leaves beside the result, shared by the parts in flight."""
    result = 0.0 if given_result else need.result_per_row * planned.rows
    most = most_rows(planned, need, budget - result, side_by_side(planned))
    return most if most < largest_part(planned) else None
