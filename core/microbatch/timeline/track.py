"""The phases of one ubatch as they follow each other.

Invariant: at any time a track is in one phase, the innermost that was entered and not left. Entering another
ends the bar of the one before, leaving begins a new one of it. What the bars of a ubatch say is therefore
never told twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from microbatch.extend.abilities import TimedEvent
from microbatch.extend.device import Device
from microbatch.extend.protocols import Stream
from microbatch.host.thread_usage import Reading, thread_usage
from microbatch.timeline.bars import WAITING, Bar, Phase, Usage
from microbatch.timeline.recording import Recording
from microbatch.turns.runtime import Runtime, thread_name

ON_DEVICE: frozenset[str] = frozenset({"compute", "communicate", "copy in", "copy out"})
"""Phases that launch device work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What all ubatches of a step have in common."""

    recording: Recording
    """Who keeps the bars."""
    runtime: Runtime
    """The clock."""
    device: Device
    """What the step runs on."""
    step: int
    """The number of the step."""
    one_thread: bool = False
    """Whether ubatches share a thread and pass its turn, so that each has a lane of its own."""


@dataclass(slots=True)
class Opened:
    """The bar that is being drawn."""

    start: float
    """When it began."""
    usage: Reading | None
    """What the system had counted then; None for what does no work."""
    mark: tuple[Stream, TimedEvent] | None = None
    """The stream and the event at its start; None where device work is not timed."""


@dataclass(slots=True, eq=False)
class Track:
    """One ubatch, or one step that is not cut."""

    where: Where
    """The step."""
    ubatch: int | None
    """Its number; None for a step that is not cut."""
    yields: int = 0
    """Yield points that it has passed."""
    _phases: list[tuple[Phase, str, str]] = field(default_factory=list)
    _opened: Opened | None = None

    def enter(self, phase: Phase, label: str = "", note: str = "") -> None:
        """Begin `phase`; the one before goes on when this is left."""
        self._close(0)
        self._phases.append((phase, label, note))
        self._open()

    def leave(self, nbytes: int = 0) -> None:
        """End the innermost phase, which moved `nbytes`."""
        self._close(nbytes)
        self._phases.pop()
        self._open()

    @contextmanager
    def phase(self, phase: Phase, label: str = "", note: str = "") -> Iterator[None]:
        """A block that is one phase."""
        self.enter(phase, label, note)
        try:
            yield
        finally:
            self.leave()

    def turn_into(self, phase: Phase) -> None:
        """The outermost phase is `phase` from now on, and its device work begins here."""
        if len(self._phases) == 1 and self._phases[0][0] != phase:
            self._close(0)
            self._phases[0] = phase, "", ""
            self._open()
        elif self._phases:
            self._phases[0] = phase, *self._phases[0][1:]
            if self._opened is not None and self._opened.mark is not None:
                self._opened.mark = self._mark()

    def add(self, span: tuple[float, float], label: str, note: str = "") -> None:
        """A bar beside the phases: a collective that was on its way from the start to the end of `span`."""
        lane = f"communicate of ubatch {self.ubatch}" if self.ubatch is not None else "communicate"
        self.where.recording.add(
            Bar(phase="communicate", start=span[0], end=span[1], lane=lane, kind="collective",
                step=self.where.step, ubatch=self.ubatch, label=label, note=note)
        )  # fmt: skip

    def _open(self) -> None:
        if not self._phases:
            self._opened = None
            return
        phase = self._phases[-1][0]
        usage = None if phase in WAITING else thread_usage()
        mark = self._mark() if phase in ON_DEVICE else None
        self._opened = Opened(self.where.runtime.monotonic(), usage, mark)

    def _close(self, nbytes: int) -> None:
        opened, where = self._opened, self.where
        if opened is None:
            return
        end, (phase, label, note) = where.runtime.monotonic(), self._phases[-1]
        usage = None if opened.usage is None else _spent(opened.usage)
        if opened.mark is not None:
            self._end_mark(opened.mark, phase, label)
        where.recording.add(
            Bar(phase=phase, start=opened.start, end=end, lane=self._lane(), step=where.step,
                ubatch=self.ubatch, label=label, note=note, nbytes=nbytes, usage=usage)
        )  # fmt: skip

    def _lane(self) -> str:
        where = self.where
        name = thread_name()
        lane = where.recording.lane(name, (name, where.runtime.current()))
        return f"{lane}, ubatch {self.ubatch}" if where.one_thread else lane

    def _mark(self) -> tuple[Stream, TimedEvent] | None:
        device = self.where.device
        event = None if device.timed is None else device.timed.timed_event()
        if event is None:
            return None
        stream = device.backend.current_stream()
        event.record(stream)
        return stream, event

    def _end_mark(self, mark: tuple[Stream, TimedEvent], phase: Phase, label: str) -> None:
        stream, first = mark
        last = first.another()
        last.record(stream)
        step, ubatch = self.where.step, self.ubatch

        def make(start: float, end: float, lane: str) -> Bar:
            return Bar(phase=phase, start=start, end=end, lane=lane, kind="stream", step=step,
                       ubatch=ubatch, label=label)  # fmt: skip

        self.where.recording.add_mark((phase, stream, first, last, make))


def _spent(before: Reading) -> Usage | None:
    now = thread_usage()
    if now is None:
        return None
    return Usage(
        seconds=now[0] - before[0] + now[1] - before[1],
        system_seconds=now[1] - before[1],
        faults=now[2] - before[2],
        waits=now[3] - before[3],
    )


TRACK: ContextVar[Track | None] = ContextVar("microbatch_track", default=None)
"""The track of the ubatch that the calling code runs in, where somebody records it."""
