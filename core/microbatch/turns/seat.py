"""A ubatch's place in a ring: what `dbo` calls at the yield points of model code.

Invariant: only the code of the ubatch that has the turn is running, so nothing here is locked. Receive hooks are a
queue on the ubatch that comes next (vLLM keeps one slot, and a second hook overwrites the first).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from microbatch.extend.protocols import Backend
from microbatch.turns.context import UBatchContext
from microbatch.turns.handoff import Ring
from microbatch.turns.streams import OTHER, Activation, Lane, StepLanes, StreamSide

__all__ = ["Seat", "seats_of"]


class Seat:
    """One ubatch of a step that takes turns."""

    __slots__ = ("_seats", "context", "hooks", "index", "ring", "streams")

    def __init__(
        self, context: UBatchContext, index: int, ring: Ring, streams: StreamSide, seats: list[Seat]
    ) -> None:
        self.context = context
        self.index = index
        self.ring = ring
        self.streams = streams
        self.hooks: deque[Callable[[], Any]] = deque()
        self._seats = seats

    def hand_over(self, label: str = "") -> None:
        """Pass the turn; returns when it is back."""
        self.ring.hand_over(self.index, label)
        self.streams.resume()

    def switch(self, lane: Lane) -> None:
        """Go to the stream of `lane` without ordering anything."""
        self.streams.switch(lane)

    def switch_ordered(self, lane: Lane) -> None:
        """Go to the stream of `lane`, whose later work waits for the work given to the other so far."""
        if self.streams.lane == lane:
            return
        event = self.streams.record()
        self.streams.switch(lane)
        self.streams.wait(event)

    def hand_over_to(self, lane: Lane, label: str = "") -> None:
        """Mark the work so far, pass the turn, and go on in the stream of `lane` after the mark."""
        self.streams.require(OTHER[lane])
        event = self.streams.record()
        self.context.gpu_wait_event = event
        self.ring.hand_over(self.index, label)
        self.streams.switch(lane)
        self.streams.wait(event)

    def register_hook(self, hook: Callable[[], Any]) -> None:
        """Leave `hook` for the ubatch that gets the turn next; run it here and now when there is none left."""
        sibling = self.ring.sibling(self.index)
        if sibling is None:
            hook()
        else:
            self._seats[sibling].hooks.append(hook)

    def run_hooks(self) -> None:
        """Run what siblings left here, oldest first."""
        while self.hooks:
            self.hooks.popleft()()


def seats_of(
    contexts: Sequence[UBatchContext],
    ring: Ring,
    backend: Backend,
    lanes: StepLanes | None,
    *,
    one_thread: bool = False,
) -> list[Seat]:
    """Give each context its seat; with `one_thread`, all share what is current in it."""
    shared = Activation(shared=True) if one_thread else None
    seats: list[Seat] = []
    for index, context in enumerate(contexts):
        streams = StreamSide(backend, lanes, index, shared or Activation())
        context.seat = Seat(context, index, ring, streams, seats)
        seats.append(context.seat)
    return seats
