"""The arithmetic of `where`: what the threads of some steps did with their time.

Invariant: the five shares add up to the time that all threads of the steps had, which is threads times wall
time. Whatever nobody recorded is ours: planning, cutting, handing over, the interpreter's own work between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

FUNCTION, GATHER, WAITING = "function", "gather", "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What one thread did for a while."""

    kind: str
    """FUNCTION, GATHER or WAITING."""
    thread: int
    """Who."""
    started: float
    """Clock, in seconds."""
    ended: float
    """Clock, in seconds."""
    user: float = 0.0
    """Seconds on a core, outside of the kernel."""
    system: float = 0.0
    """Seconds on a core in the kernel: faults of fresh pages, for what computes and copies."""
    faults: int = 0
    """Minor faults."""

    def within(self, started: float, ended: float) -> float:
        """Seconds of it in that span."""
        return max(0.0, min(self.ended, ended) - max(self.started, started))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of the wrapper."""

    thread: int
    """The caller."""
    started: float
    """Clock, in seconds."""
    ended: float
    """Clock, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Seconds of all threads together, over all steps."""

    total: float
    """Threads times wall time."""
    function: float
    """In the function, without its faults."""
    waiting: float
    """In a gate: for a part to come, for the others to end, for the turn."""
    faults: float
    """In the kernel, while the function or the gather ran: fresh pages."""
    gather: float
    """Copying outputs into the result, without its faults."""
    off_core: float
    """Of function and gather: not on a core, as another thread had the interpreter's lock, or another process
    the core. Not one of the shares."""
    minor_faults: int
    """How many."""

    @property
    def ours(self) -> float:
        """The rest: what the library itself takes."""
        return self.total - self.function - self.waiting - self.faults - self.gather


def split(steps: Sequence[Step], intervals: Iterable[Interval]) -> Split:
    """What became of the time of `steps`; a wait that began before a step, or goes on after it, is cut."""
    total, minor = 0.0, 0
    seconds = dict.fromkeys((FUNCTION, GATHER, WAITING, "system", "off"), 0.0)
    every = sorted(intervals, key=lambda one: one.started)
    for step in steps:
        own = [one for one in every if one.within(step.started, step.ended) > 0]
        worked = [one for one in own if one.kind != WAITING]
        threads = {step.thread, *(one.thread for one in worked)}
        waits = [one for one in own if one.kind == WAITING and one.thread in threads]
        total += len(threads) * (step.ended - step.started)
        seconds[WAITING] += sum(one.within(step.started, step.ended) for one in waits)
        for one in worked:
            lasted = one.ended - one.started - _inside(one, waits)
            system = min(one.system, lasted)
            seconds[one.kind] += lasted - system
            seconds["system"] += system
            seconds["off"] += max(0.0, lasted - one.user - system)
            minor += one.faults
    return Split(
        total=total,
        function=seconds[FUNCTION],
        waiting=seconds[WAITING],
        faults=seconds["system"],
        gather=seconds[GATHER],
        off_core=seconds["off"],
        minor_faults=minor,
    )


def _inside(one: Interval, waits: Iterable[Interval]) -> float:
    """Seconds in which the thread waited in the middle of it, as ubatches that take turns do."""
    return sum(wait.within(one.started, one.ended) for wait in waits if wait.thread == one.thread)
