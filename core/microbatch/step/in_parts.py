"""A step in parts: all ubatches under the schedule; where they took each other's memory, the rest one at a
time.

Invariant: a ubatch that was stored never runs again. While a memory guard knows nothing of the batch, its
first ubatch runs before all others, since that is where it measures; so it does where the address space is
limited (`thread_room.py`). Where a pipeline has no thread, ubatches run one at a time. A schedule's module is
imported when it is first used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from microbatch.errors import ThreadStartError
from microbatch.gathering.run_parts import Call, Parts
from microbatch.options.fields import UBatchConfig
from microbatch.options.raised import is_a, text_of
from microbatch.schedules.around import surrounded
from microbatch.schedules.step import Schedule, Step
from microbatch.step.choose_schedule import load_schedule
from microbatch.step.layers import Layers
from microbatch.step.planned import Planned
from microbatch.step.thread_room import NO_ROOM, Running, alone, is_limited, running
from microbatch.step.tracing import traced, tracing
from microbatch.step.ubatches import Ubatches
from microbatch.turns.ambient import Ambient
from microbatch.turns.context import UBatchContext
from microbatch.turns.kept_errors import without_frames
from microbatch.turns.runtime import Runtime
from microbatch.turns.workers import WorkerPool

MEMORY = ""
"""That ubatches took each other's memory is told by recovery."""


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
        self._renew_after_fork()
        how = running(planned, self._config, len(contexts), self.workers.num_threads)
        if how.threads is not None:
            ubatches.on_fewer(how.threads, NO_ROOM)
        self._run(how, planned, ubatches, contexts)

    def run_alone(self, planned: Planned, ubatches: Ubatches, context: UBatchContext) -> None:
        """Run one of them in the calling thread, where no device needs another."""
        self._run(alone(planned), planned, ubatches, [context])

    def is_limited(self, planned: Planned) -> bool:
        """Whether threads of this step would take the room of its result."""
        return is_limited(planned, self._config)

    def shutdown(self) -> None:
        """Stop the workers and wait for them."""
        self.workers.shutdown()

    def _renew_after_fork(self) -> None:
        if self._process != os.getpid():  # a forked child has none of its parent's threads
            self._process = os.getpid()
            self.workers = WorkerPool(self.runtime, self._threads - 1)

    def _run(
        self, how: Running, planned: Planned, ubatches: Ubatches, contexts: Sequence[UBatchContext]
    ) -> None:
        name = how.schedule
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
            parallelism=how.workers,
            ambient=self._ambient,
            make_room=ubatches.make_room,
            together=how.together,
            on_fewer=ubatches.on_fewer,
        )
        if name != "pingpong":
            step = surrounded(step)
        schedule(traced(step) if self._tracing else step)


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
        contexts = self.ubatches.contexts
        several = len(contexts) > 1 and self.planned.schedule != "sequential"
        try:
            if self._first_alone():
                self.runner.run(self.planned, self.ubatches, contexts[:1])
                contexts = contexts[1:]
            if contexts:
                self.runner.run(self.planned, self.ubatches, contexts)
        except Exception as error:
            reason = self._why_alone(error) if several else None
            if reason is None:
                raise
            without_frames(error)
        else:
            return
        self._go_on_alone(reason)

    def _first_alone(self) -> bool:
        """Whether the first ubatch runs before the others."""
        guard = self.layers.guard
        return (guard is not None and guard.first_part_alone) or self.runner.is_limited(self.planned)

    def _why_alone(self, error: Exception) -> str | None:
        """What to tell of running those that were not stored one at a time; None where that is no help."""
        if self.ubatches.all_stored():  # then it came after the rows: a receive hook's
            return None
        if is_a(error, ThreadStartError) and self.planned.schedule == "streamed":
            return text_of(error).partition(", and")[0]
        return MEMORY if self.layers.recovery.may_go_on_alone(error) else None

    def _go_on_alone(self, reason: str) -> None:
        """Run those that were not stored one at a time: they took each other's memory, or lack a thread."""
        if reason == MEMORY:
            self.layers.recovery.go_on_alone()
        else:
            self.ubatches.on_fewer(1, f"one at a time, as {reason}")
        for context in self.ubatches.unfinished():
            self.runner.run_alone(self.planned, self.ubatches, context)
