"""A bar: one phase of one ubatch, with its start, its end and where it was.

Invariant: numbers and texts only, so a bar keeps no array, stream or event alive. The bars of one ubatch in
one thread follow each other: where a phase is interrupted by another, as a call by a yield, it is two bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from microbatch.extend.records import StepReport

Phase = Literal[
    "step", "cut", "wait", "compute", "yield", "communicate", "copy in", "copy out", "store", "nested"
]
"""What is done. `step` is a whole step, `nested` a wrapped call inside a ubatch, a step of its own."""

WAITING: frozenset[str] = frozenset({"wait", "yield"})
"""Phases in which nothing is done: for an event, for the first turn, for the turn to come back."""
MOVING: frozenset[str] = frozenset({"communicate", "copy in", "copy out"})
"""Phases that may lie under the compute of others."""
AROUND: frozenset[str] = frozenset({"step", "nested"})
"""Phases that hold other bars."""

Kind = Literal["thread", "stream", "collective"]
"""Whose lane it is: a thread's, a stream's of a device, or that of collectives on their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the system counted for a thread during a bar."""

    seconds: float
    """Processor time."""
    system_seconds: float
    """Of that, time in the kernel."""
    faults: int
    """Pages that were mapped when they were first touched."""
    waits: int
    """How often the thread gave its core away to wait for something, as the interpreter's lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One phase."""

    phase: Phase
    """What was done."""
    start: float
    """Seconds of the runtime's clock."""
    end: float
    """Seconds of the same clock, not before `start`."""
    lane: str
    """The name of the thread or stream."""
    kind: Kind = "thread"
    """Whose lane it is."""
    step: int = 0
    """Which step of the recording, from 0."""
    ubatch: int | None = None
    """Which ubatch of the step; None for the step itself, and for what belongs to none."""
    label: str = ""
    """The label of a yield, the name of a collective or of what is waited for."""
    note: str = ""
    """What the doctor asks of it, in a word; see `on_the_way.py`."""
    nbytes: int = 0
    """Bytes of the arrays that were cut out, or stored."""
    usage: Usage | None = None
    """What the system counted, in bars of threads that do work."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenStep:
    """A step that was recorded."""

    number: int
    """Its number in the recording, from 0."""
    inside: int | None
    """The number of the step in one of whose ubatches it was called; None for none."""
    name: str
    """The name of the function."""
    start: float
    """Seconds of the clock."""
    end: float
    """Seconds of the clock."""
    report: StepReport | None
    """Its report; None where it failed before it had one."""
    asynchronous: bool = False
    """Whether its device may still work when an operation has returned."""
