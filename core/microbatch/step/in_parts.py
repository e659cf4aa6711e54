"""A step in parts: all ubatches under the schedule; where they took each other's memory, the rest one at a time.

Invariant: a ubatch that was stored never runs again. While a memory guard knows nothing of the batch, its first ubatch
runs before all others, since that is where it measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microbatch.gathering.run_parts import Call, Parts
from microbatch.step.layers import Layers
from microbatch.step.planned import Planned
from microbatch.step.recovery import strip_tracebacks
from microbatch.step.run_schedule import ScheduleRunner
from microbatch.step.ubatches import Ubatches
from microbatch.turns.context import UBatchContext

__all__ = ["InParts"]


@dataclass(frozen=True, slots=True)
class InParts:
    """The order in which the parts of one step run; `gathering.run_parts` calls it."""

    planned: Planned
    """The step."""
    ubatches: Ubatches
    """Its parts, with their contexts."""
    layers: Layers
    """The call of the function."""
    runner: ScheduleRunner
    """Threads and schedules."""

    def __call__(self, parts: Parts, call: Call) -> None:
        """Run every ubatch; raises the first error after all of them have ended."""
        contexts, guard = self.ubatches.contexts, self.layers.guard
        if guard is not None and guard.first_part_alone:
            self.runner.run(self.planned, self.ubatches, contexts[:1])
            contexts = contexts[1:]
            if not contexts:
                return
        if not self._together(contexts):
            for context in self.ubatches.unfinished():
                self.runner.run(self.planned, self.ubatches, [context])

    def _together(self, contexts: Sequence[UBatchContext]) -> bool:
        """Run them as planned; False if they took each other's memory, and what is left shall run one at a time."""
        try:
            self.runner.run(self.planned, self.ubatches, contexts)
        except Exception as error:
            several = len(contexts) > 1 and self.planned.schedule != "sequential"
            if not (several and self.layers.recovery.may_go_on_alone(error)):
                raise
            strip_tracebacks(error)
        else:
            return True
        self.layers.recovery.go_on_alone()
        return False
