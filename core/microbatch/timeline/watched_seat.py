"""A seat that tells a track when its ubatch waits for its turn, and on which lane it goes on.

Invariant: it does what the seat inside does, in that order; it only looks at the clock before and after.
While a ubatch is on its communication stream, what it does is communication.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from microbatch.extend.protocols import Event
from microbatch.timeline.bars import Phase
from microbatch.timeline.track import Track
from microbatch.turns.seat import Seat
from microbatch.turns.step_lanes import Lane
from microbatch.turns.streams import StreamSide

PHASES: Mapping[Lane, Phase] = MappingProxyType({"compute": "compute", "communication": "communicate"})
"""What is done on which stream."""


class WatchedStreams(StreamSide):
    """The streams of a ubatch; takes the place of those that it is made of, which nobody else has."""

    __slots__ = ("_track",)

    def __init__(self, streams: StreamSide, track: Track) -> None:
        for name in StreamSide.__slots__:
            setattr(self, name, getattr(streams, name))
        self._track = track

    def switch(self, lane: Lane) -> None:
        """As in `StreamSide`; the work from here on is that of the lane."""
        super().switch(lane)
        self._track.turn_into(PHASES[lane])

    def wait(self, event: Event | None) -> None:
        """As in `StreamSide`; the work from here on begins after the event."""
        super().wait(event)
        if event is not None:
            self._track.turn_into(PHASES[self.lane])


@dataclass(slots=True, eq=False, repr=False)
class WatchedSeat(Seat):
    """A seat around another."""

    inner: Seat
    """Does what a seat does."""
    track: Track
    """Is told."""

    def begin(self) -> None:
        """As in `Seat`; the wait for the first turn is over."""
        self.track.leave()
        self.inner.begin()

    def end(self) -> None:
        """As in `Seat`."""
        self.inner.end()

    def hand_over(self, label: str = "") -> None:
        """As in `Seat`; until the turn is back it is a yield."""
        self._yielding(label, self.inner.hand_over, label)

    def hand_over_to(self, lane: Lane, label: str = "") -> None:
        """As in `Seat`; until the turn is back it is a yield."""
        self._yielding(label, self.inner.hand_over_to, lane, label)

    def _yielding(self, label: str, hand_over: Callable[..., None], *arguments: str) -> None:
        self.track.yields += 1
        with self.track.phase("yield", label):
            hand_over(*arguments)


def watched_seat(seat: Seat, track: Track) -> WatchedSeat:
    """`seat`, seen; its ubatch waits for its first turn from now on."""
    seat.streams = WatchedStreams(seat.streams, track)
    track.enter("wait", "first turn")
    return WatchedSeat(seat.ubatch, seat.index, seat.ring, seat.streams, seat.left, seat, track)
