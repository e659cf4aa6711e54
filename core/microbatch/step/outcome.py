"""What one step did: one record, filled while it runs and read once when it is over.

Invariant: it holds numbers only, so it keeps no array alive. Each field is written by one helper, named
beside it. Parts may end in several threads at the same time; adding to a list is one operation, so nothing is
locked. Rejected: asking each helper of the step for its share afterwards, since the report was then made in
three passes, each correcting the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """The record of one step."""

    ran: list[int] = field(default_factory=list)
    """Rows of each call that returned, in order of their ends; by recovery."""
    failed: list[int] = field(default_factory=list)
    """Rows of each call that ran out of memory, in order; by recovery."""
    one_at_a_time: bool = False
    """Whether parts that ran side by side took each other's memory, so that the rest ran alone; by
    recovery."""
    seconds: list[float] = field(default_factory=list)
    """Wall time of each planned part, in row order; empty where the function ran on the whole batch; by
    ubatches."""
    guarded: bool = False
    """Whether a guard of the memory stood around the calls, so that parts may have been cut further; by
    the guard."""
    peak: int | None = None
    """Highest bytes in use above the start of the step; None where it was not measured; by the guard."""
    calibration: bool = False
    """Whether the first parts were small, to see what they need, so that times say nothing of sizes; by
    the guard."""
