"""A step in parts: all ubatches under the schedule; where they took each other's memory, the rest one at a
time.

Invariant: a ubatch that was stored never runs again. While a memory guard knows nothing of the batch, its
first ubatch runs before all others, since that is where it measures. A schedule's module is imported when it
is first used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from microbatch.gathering.run_parts import Call, Parts
from microbatch.options.fields import UBatchConfig
from microbatch.schedules.around import surrounded
from microbatch.schedules.step import Schedule, Step
from microbatch.step.choose_schedule import load_schedule
from microbatch.step.layers import Layers
from microbatch.step.planned import Planned
from microbatch.step.tracing import traced, tracing
from microbatch.step.ubatches import Ubatches
from microbatch.turns.ambient import Ambient
from microbatch.turns.context import UBatchContext
from microbatch.turns.kept_errors import without_frames
from microbatch.turns.runtime import Runtime
from microbatch.turns.workers import WorkerPool


class ScheduleRunner:
    """One per wrapper; usable from several threads at once."""

    __slots__ = (
        "_ambient",
        "_config",
        "_process",
        "_schedules",
        "_threads",
        "_tracing",
        "runtime",
        "workers",
    )

    def __init__(
        self, config: UBatchConfig, runtime: Runtime, threads: int, ambient: Ambient | None = None
    ) -> None:
        """`threads` bound the workers, a caller's own included; `ambient` surrounds each ubatch."""
        self.runtime = runtime
        self.workers = WorkerPool(runtime, threads - 1)
        self._threads = threads
        self._config = config
        self._ambient = ambient
        self._schedules: dict[str, Schedule] = {}
        self._tracing = tracing()
        self._process = os.getpid()

    def run(self, planned: Planned, ubatches: Ubatches, contexts: Sequence[UBatchContext]) -> None:
        """Run `contexts`, all or some of `ubatches`; raises the first error after all of them have ended."""
        if self._process != os.getpid():  # a forked child has none of its parent's threads
            self._process = os.getpid()
            self.workers = WorkerPool(self.runtime, self._threads - 1)
        name = planned.schedule if len(contexts) > 1 or planned.schedule == "streamed" else "sequential"
        schedule = self._schedules.get(name) or self._schedules.setdefault(name, load_schedule(name))
        step = Step(
            contexts=contexts,
            load=ubatches.load,
            compute=ubatches.compute,
            store=ubatches.store,
            device=planned.device,
            config=self._config,
            runtime=self.runtime,
            workers=self.workers,
            parallelism=planned.plan.workers,
            ambient=self._ambient,
            make_room=ubatches.make_room,
            together=planned.plan.together,
            on_fewer=ubatches.on_fewer,
        )
        if name != "pingpong":
            step = surrounded(step)
        schedule(traced(step) if self._tracing else step)

    def shutdown(self) -> None:
        """Stop the workers and wait for them."""
        self.workers.shutdown()


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
        try:
            self.runner.run(self.planned, self.ubatches, contexts)
        except Exception as error:
            several = len(contexts) > 1 and self.planned.schedule != "sequential"
            may = several and self.layers.recovery.may_go_on_alone(error)
            if not may or self.ubatches.all_stored():  # then it came after the rows: a receive hook's
                raise
            without_frames(error)
        else:
            return
        self._go_on_alone()

    def _go_on_alone(self) -> None:
        """The ubatches took each other's memory: run those that were not stored one at a time."""
        self.layers.recovery.go_on_alone()
        for context in self.ubatches.unfinished():
            self.runner.run(self.planned, self.ubatches, [context])
