"""Which seat the calling code has: the one thing that a yield point of model code looks at.

Invariant: a ubatch that takes turns sees its own seat and nobody else's. Outside a step, and in a ubatch of a
schedule without turns, there is none. Threads and tasks that the function starts copy the variable and may
outlive the ubatch. So the variable holds a holder of the seat: it is emptied when the ubatch ends, for all
copies at once.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microbatch.turns.seat import Seat


class SeatHolder:
    """The seat of one ubatch until it ends, then None; filled when it is made, never later."""

    __slots__ = ("seat",)

    def __init__(self, seat: Seat | None) -> None:
        self.seat = seat
        """Where yield points go; None where they do nothing."""

    def empty(self) -> None:
        """Make the yield points of whoever still has this holder do nothing."""
        self.seat = None


NO_SEAT = SeatHolder(None)
"""For code that has no seat."""

SEAT: ContextVar[SeatHolder] = ContextVar("microbatch_seat", default=NO_SEAT)
"""The holder of the calling code's seat; set when a ubatch is entered."""
