"""What a doctor looks at: the steps of one function, with their bars and what is known of the process.

Invariant: a case holds what was measured; it concludes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from microbatch.extend.records import StepReport
from microbatch.timeline.bars import Bar, SeenStep
from microbatch.timeline.intervals import joined, length


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What is known beside the bars."""

    environment: Mapping[str, str]
    """Environment variables when the recording began."""
    locked: bool
    """Whether Python code of this process runs in one thread at a time."""
    switch_interval: float
    """Seconds after which a thread that waits for the interpreter asks for it."""
    copy_rate: Callable[[], float]
    """Bytes a second, read and written, that one thread copies here; measured when asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The steps of one function."""

    steps: Sequence[SeenStep]
    """At least one."""
    bars: Sequence[Bar]
    """Those of its ubatches."""
    process: Process
    """Where they ran."""

    @property
    def report(self) -> StepReport | None:
        """That of the last step."""
        return self.steps[-1].report

    @property
    def schedule(self) -> str:
        """The schedule of the last step; empty where it failed."""
        return "" if self.report is None else self.report.schedule

    @property
    def cut(self) -> bool:
        """Whether some step ran as several ubatches."""
        return any(bar.ubatch for bar in self.bars)

    @property
    def asynchronous(self) -> bool:
        """Whether the device works on when an operation has returned."""
        return any(step.asynchronous for step in self.steps)

    def of(self, *phases: str, kind: str = "thread") -> list[Bar]:
        """Bars of phases on one kind of lane."""
        return [bar for bar in self.bars if bar.phase in phases and bar.kind == kind]

    def noted(self, note: str) -> list[Bar]:
        """Bars with a note."""
        return [bar for bar in self.bars if bar.note == note]

    def seconds(self, *phases: str) -> float:
        """Time of phases over all threads."""
        return sum(bar.seconds for bar in self.of(*phases))

    def covered(self, *phases: str) -> float:
        """Time in which at least one thread is in one of the phases."""
        return length(joined((bar.start, bar.end) for bar in self.of(*phases)))

    def each_ubatch(self, phase: str) -> float:
        """Seconds of a phase in a ubatch, the median."""
        found: dict[tuple[int, int | None], float] = {}
        for bar in self.of(phase):
            found[bar.step, bar.ubatch] = found.get((bar.step, bar.ubatch), 0.0) + bar.seconds
        return median(found.values()) if found else 0.0
