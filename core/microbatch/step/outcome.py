"""What one step did: one record, filled while it runs and read once when it is over.

Invariant: it holds numbers only, so it keeps no array alive. Each field is written by one helper, named
beside it. Parts may end in several threads at the same time; adding to a list is one operation, so nothing is
locked. Rejected: asking each helper of the step for its share afterwards, since the report was then made in
three passes, each correcting the one before.
"""

from __future__ import annotations

from msgspec import Struct, field


class Outcome(Struct):
    """The record of one step."""

    ran: list[int] = field(default_factory=list)
    """By recovery: rows of each call that returned, in order of their ends."""
    failed: list[int] = field(default_factory=list)
    """By recovery: rows of each call that ran out of memory, in order."""
    one_at_a_time: bool = False
    """By recovery: whether parts side by side took each other's memory, so that the rest ran alone."""
    sizes: tuple[int, ...] = ()
    """By ubatches: units of each part of a step that was planned as it went; empty for any other."""
    pace: tuple[tuple[int, float], ...] = ()
    """By ubatches: what such a step has shown of its sizes, as in the report."""
    seconds: list[float] = field(default_factory=list)
    """By ubatches: wall time of each planned part, in row order; empty where the batch was not cut."""
    threads: int | None = None
    """By the schedule: threads that ran ubatches, where they were fewer than planned."""
    why_fewer: str = ""
    """By the schedule: why they were fewer."""
    guarded: bool = False
    """By the guard: whether parts may have been cut further for their memory."""
    peak: int | None = None
    """By the guard: highest bytes in use above the start of the step; None where it was not measured."""
    calibration: bool = False
    """By the guard: whether the first parts were small to see what they need, so times teach nothing."""
