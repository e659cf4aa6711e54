"""Who collects bars, and how a step finds him.

Invariant: what is collected is bounded: beyond the cap bars are counted, not kept. A step asks one context
variable, in the thread of its caller, so threads that did not come from the block are not recorded, and a
process may have several recordings at the same time. Adding is one operation of a list; nothing is locked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

from microbatch.extend.abilities import TimedEvent
from microbatch.extend.protocols import Stream
from microbatch.timeline.bars import Bar, SeenStep

MOST_BARS = 100_000
"""Bars that one recording keeps: 40 MB of memory, and 15 MB of a trace."""

Mark = tuple[Stream, TimedEvent, TimedEvent, Callable[[float, float, str], Bar]]
"""A stretch of device work between two events of a stream, and what makes a bar of its times."""


class Recording:
    """What was seen so far."""

    def __init__(self, most: int = MOST_BARS) -> None:
        self._most = most
        self._tickets = itertools.count()
        self._numbers = itertools.count()
        self._bars: list[Bar] = []
        self._marks: list[Mark] = []
        self._lanes: dict[tuple[str, Hashable], str] = {}
        self._names: dict[str, Any] = {}
        self.steps: list[SeenStep] = []
        """The steps that have ended, in order of their ends."""
        self.on_the_way: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        """What was started and not waited for yet; see the module of that name."""
        self.left_out = 0
        """Bars that were not kept, as there were too many."""

    def next_step(self) -> int:
        """The number of a step that begins."""
        return next(self._numbers)

    def has_room(self) -> bool:
        """Whether one more bar is kept; if not it is counted as left out."""
        ticket = next(self._tickets)
        if ticket < self._most:
            return True
        self.left_out = max(self.left_out, ticket + 1 - self._most)
        return False

    def add(self, bar: Bar) -> None:
        """Keep `bar`, if there is room."""
        if self.has_room():
            self._bars.append(bar)

    def add_step(self, step: SeenStep, bar: Bar) -> None:
        """Keep a step that has ended, if there is room."""
        if self.has_room():
            self._bars.append(bar)
            self.steps.append(step)

    def add_mark(self, mark: Mark) -> None:
        """Keep a stretch of device work, if there is room; it becomes a bar in `bars`."""
        if self.has_room():
            self._marks.append(mark)

    def lane(self, name: str, owner: Hashable) -> str:
        """The name of the lane of `owner`: `name`, with a number where another one has that already."""
        known = self._lanes.get((name, owner))
        if known is not None:
            return known
        number, taken = 1, name
        while self._names.setdefault(taken, owner) != owner:
            number += 1
            taken = f"{name} #{number}"
        return self._lanes.setdefault((name, owner), taken)

    def bars(self, clock: Callable[[], float]) -> list[Bar]:
        """All bars that are kept, by their start; waits for the device work that was marked."""
        marks, self._marks = self._marks, []
        self._bars.extend(_timed(marks, self.lane, clock))
        return sorted(self._bars, key=lambda bar: (bar.start, -bar.end))


RECORDING: ContextVar[Recording | None] = ContextVar("microbatch_recording", default=None)
"""Who records the steps that the calling code makes; None for nobody."""


def _timed(marks: list[Mark], lane: Callable[[str, Any], str], clock: Callable[[], float]) -> list[Bar]:
    """Bars of device work, on the clock of the host.

    A last event of each stream ties the two clocks: it is waited for, and the host's clock is read then. The
    host hears of it up to 20 us late, which shifts all bars of the stream alike.
    """
    ends: dict[Any, tuple[TimedEvent, float]] = {}
    made = []
    for stream, first, last, make in marks:
        if stream not in ends:
            ends[stream] = _end_of(stream, first, clock)
        end, now = ends[stream]
        start, stop = now - first.seconds_until(end), now - last.seconds_until(end)
        made.append(make(start, max(start, stop), lane(f"{stream.purpose} stream", stream)))
    return made


def _end_of(stream: Stream, like: TimedEvent, clock: Callable[[], float]) -> tuple[TimedEvent, float]:
    with stream.activate():
        end = like.another()
        end.record(stream)
    end.synchronize()
    return end, clock()
