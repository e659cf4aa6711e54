"""Runs ubatches under the schedule of their step, with the threads of one wrapper.

Invariant: a schedule's module is imported when it is first used, and looked up once. A single ubatch runs in the
caller's thread, except under `streamed`, which also moves a single part.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from microbatch.options.fields import UBatchConfig
from microbatch.schedules.step import Schedule, Step
from microbatch.step.choose_schedule import load_schedule
from microbatch.step.planned import Planned
from microbatch.step.tracing import traced, tracing
from microbatch.step.ubatches import Ubatches
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime
from microbatch.turns.workers import WorkerPool

__all__ = ["ScheduleRunner"]


class ScheduleRunner:
    """One per wrapper; usable from several threads at once."""

    __slots__ = ("_config", "_process", "_schedules", "_tracing", "runtime", "workers")

    def __init__(self, config: UBatchConfig, runtime: Runtime) -> None:
        self.runtime = runtime
        self.workers = WorkerPool(runtime)
        self._config = config
        self._schedules: dict[str, Schedule] = {}
        self._tracing = tracing()
        self._process = os.getpid()

    def run(self, planned: Planned, ubatches: Ubatches, contexts: Sequence[UBatchContext]) -> None:
        """Run `contexts`, all or some of `ubatches`; raises the first error after all of them have ended."""
        name = planned.schedule if len(contexts) > 1 or planned.schedule == "streamed" else "sequential"
        schedule = self._schedules.get(name) or self._schedules.setdefault(name, load_schedule(name))
        step = Step(
            contexts=contexts,
            load=ubatches.load,
            compute=ubatches.compute,
            store=ubatches.store,
            device=planned.binder.device,
            config=self._config,
            runtime=self.runtime,
            workers=self.workers,
            parallelism=planned.plan.workers,
        )
        schedule(traced(step) if self._tracing else step)

    def renew_after_fork(self) -> None:
        """In a forked child: new workers, as the parent's threads are not there."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self.workers = WorkerPool(self.runtime)

    def shutdown(self) -> None:
        """Stop the workers and wait for them."""
        self.workers.shutdown()
