"""A seat is what a ubatch acts through: it passes the turn, changes the stream and leaves receive hooks.

Invariant: only the code of the ubatch that has the turn is running, so nothing here is locked. Receive hooks
are a queue on the ubatch that comes next (vLLM keeps one slot, and a second hook overwrites the first).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from microbatch.extend.protocols import Backend
from microbatch.turns.handoff import Ring
from microbatch.turns.step_lanes import OTHER, Lane, StepLanes
from microbatch.turns.streams import Activation, StreamSide

Hooks = deque[Callable[[], Any]]
"""Receive hooks that wait to be called."""


class Marked(Protocol):
    """What a seat uses of a `UBatchContext`; contexts know of seats, so seats do not import contexts."""

    gpu_wait_event: Any
    """The device event recorded at its last hand-off."""


@dataclass(slots=True, eq=False, repr=False)
class Seat:
    """One ubatch of a step that takes turns."""

    ubatch: Marked
    """Who is told of the event recorded at a hand-off."""
    index: int
    """Its number in the ring."""
    ring: Ring
    """Who has the turn, and who comes next."""
    streams: StreamSide
    """Which stream the ubatch is on."""
    left: Sequence[Hooks]
    """What was left to be called by each ubatch of the step, oldest first. Not their seats: that would be a
    cycle, which an interrupt at the wrong moment leaves behind."""

    def begin(self) -> None:
        """The first turn is there: go to the stream of the ubatch."""
        self.streams.resume()

    def end(self) -> None:
        """The ubatch has ended: go back to the stream that was current before; twice is once."""
        self.streams.end()

    def hand_over(self, label: str = "") -> None:
        """Pass the turn; returns when it is back."""
        self.ring.hand_over(self.index, label)
        self.streams.resume()

    def switch_ordered(self, lane: Lane) -> None:
        """Go to the stream of `lane`, whose later work waits for the work given to the other so far."""
        if self.streams.lane == lane:
            return
        event = self.streams.record()
        self.streams.switch(lane)
        self.streams.wait(event)

    def hand_over_to(self, lane: Lane, label: str = "") -> None:
        """Mark the work so far, pass the turn, and go on in the stream of `lane` after the mark.

        Raises ThreadStateError if the ubatch is on that stream already.
        """
        self.streams.require(OTHER[lane])
        # The mark comes before the turn is passed: set later, it would also cover what siblings launch
        # meanwhile, and this ubatch would wait for them. The wait comes after the switch: it must hold back
        # the stream gone to.
        event = self.streams.record()
        self.ubatch.gpu_wait_event = event
        self.ring.hand_over(self.index, label)
        self.streams.switch(lane)
        self.streams.wait(event)

    def register_hook(self, hook: Callable[[], Any]) -> None:
        """Leave `hook` for the ubatch that gets the turn next; run it here and now if there is none left."""
        following = self.ring.after[self.index]
        if following == self.index:
            hook()
        else:
            self.left[following].append(hook)

    def run_hooks(self) -> None:
        """Run what siblings left here, oldest first."""
        hooks = self.left[self.index]
        while hooks:
            hooks.popleft()()


def make_seats(
    ubatches: Sequence[Marked],
    ring: Ring,
    backend: Backend,
    lanes: StepLanes | None,
    *,
    one_thread: bool = False,
) -> list[Seat]:
    """A seat for each ubatch; with `one_thread`, all share what is current in it."""
    shared = Activation(shared=True) if one_thread else None
    left: list[Hooks] = [deque() for _ in ubatches]
    sides = [StreamSide(backend, lanes, index, shared or Activation()) for index in range(len(ubatches))]
    return [
        Seat(ubatch, index, ring, side, left)
        for index, (ubatch, side) in enumerate(zip(ubatches, sides, strict=True))
    ]
