"""What one step did: one record, written while it runs by those who do it, and read once when it is over.

Invariant: it holds numbers only, so it keeps no array alive. Parts may end in several threads at the same time; adding to
a list is one operation, so nothing is locked. Rejected: asking each helper of the step for its share afterwards, since
the report was then made in three passes, each correcting the one before.
"""

from __future__ import annotations

__all__ = ["Outcome"]


class Outcome:
    """The record of one step; each method is called by one kind of helper only."""

    __slots__ = ("calibration", "failed", "guarded", "one_at_a_time", "peak", "ran", "seconds")

    def __init__(self) -> None:
        self.ran: list[int] = []
        """Rows of each part that ran to its end, in order of their ends; filled by `part_ran`."""
        self.failed: list[int] = []
        """Rows of each part that ran out of memory, in order; filled by `part_failed`."""
        self.seconds: list[float] = []
        """Wall time of each planned part, in row order; empty where the function ran on the whole batch."""
        self.one_at_a_time = False
        """Whether parts that ran side by side took each other's memory; set by `went_on_one_at_a_time`."""
        self.guarded = False
        """Whether a guard of the memory stood around the calls, so that parts may have been cut further."""
        self.peak: int | None = None
        """Highest bytes in use above the start of the step; None where it was not measured."""
        self.calibration = False
        """Whether the first parts were small to see what they need, so that times say nothing of sizes."""

    def times_of(self, count: int) -> list[float]:
        """The batch goes in `count` parts: where their wall times are to be written, in row order."""
        self.seconds = [0.0] * count
        return self.seconds

    def part_ran(self, rows: int) -> None:
        """A call of the function on `rows` rows has returned."""
        self.ran.append(rows)

    def part_failed(self, rows: int) -> None:
        """A call of the function on `rows` rows ran out of memory."""
        self.failed.append(rows)

    def went_on_one_at_a_time(self) -> None:
        """What was not finished runs again, one part after another."""
        self.one_at_a_time = True

    def measured(self, peak: int | None, *, calibration: bool) -> None:
        """The memory of the step was watched."""
        self.peak, self.calibration = peak, calibration

    def is_guarded(self) -> None:
        """A guard stands around the calls of this step."""
        self.guarded = True
