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

from msgspec import Struct

from microbatch.errors import ThreadStartError
from microbatch.gathering.run_parts import Call, Parts
from microbatch.options.fields import UBatchConfig
from microbatch.options.raised import is_a, text_of
from microbatch.schedules.around import surrounded
from microbatch.schedules.step import Queue, Schedule, Step
from microbatch.step.choose_schedule import load_schedule
from microbatch.step.layers import Layers
from microbatch.step.planned import Planned
from microbatch.step.thread_room import NO_ROOM, Running, alone, is_limited, within_room
from microbatch.step.tracing import traced, tracing
from microbatch.step.ubatches import Ubatches
from microbatch.timeline.current import WATCH
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

    def run(
        self,
        planned: Planned,
        ubatches: Ubatches,
        contexts: Sequence[UBatchContext] | Queue,
        how: Running | None = None,
    ) -> None:
        """Run `contexts`, all or some of `ubatches`; raises the first error after all of them have ended.

        A queue has all that are left of a step that is planned as it goes. `how` is how they run where that
        is not as planned.
        """
        if self._process != os.getpid():  # a forked child has none of its parent's threads
            self._process = os.getpid()
            self.workers = WorkerPool(self.runtime, self._threads - 1)
        queue, contexts = (None, contexts) if isinstance(contexts, Sequence) else (contexts, ())
        if how is None:
            several = queue is not None or len(contexts) > 1 or planned.schedule == "streamed"
            name = planned.schedule if several else "sequential"
            how = Running(name, planned.plan.workers, planned.plan.together)
        name = how.schedule
        schedule = self._schedules.get(name) or self._schedules.setdefault(name, load_schedule(name))
        step = Step(
            contexts=contexts,
            queue=queue,
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
        if self._ambient is not None and name != "pingpong":
            step = surrounded(step)
        watch = WATCH.get()
        if watch is not None:
            step = watch.watched(step)
        schedule(traced(step) if self._tracing else step)

    def limited(self, planned: Planned) -> bool:
        """Whether threads of this step, if it has some, would take the room of its result."""
        return is_limited(planned, self._config)

    def within_room(self, planned: Planned, count: int) -> Running | None:
        """How `count` ubatches run on the threads that there are and have room; None for as planned."""
        return within_room(planned, count, self.workers.num_threads)

    def shutdown(self) -> None:
        """Stop the workers and wait for them."""
        self.workers.shutdown()


class InParts(Struct, frozen=True):
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
        contexts, queue = self.ubatches.contexts, self.ubatches.queue
        overlapping, together = self.planned.schedule != "sequential", False
        several = (queue is not None or len(contexts) > 1) and overlapping
        guard, limited = self.layers.guard, overlapping and self.runner.limited(self.planned)
        try:
            if limited or (guard is not None and guard.first_part_alone):
                how = alone(self.planned) if limited else None
                first = contexts[:1] if queue is None else [queue.popleft()]
                self.runner.run(self.planned, self.ubatches, first, how)
                contexts = contexts[1:]
            together = several and (queue is not None or len(contexts) > 1)
            if contexts or queue is not None:
                left = len(contexts) if queue is None else self.planned.plan.workers
                how = self._within_room(left) if limited else None
                self.runner.run(self.planned, self.ubatches, contexts if queue is None else queue, how)
        except Exception as error:
            reason = self._why_alone(error, together=together) if several else None
            if reason is None:
                raise
            without_frames(error)
        else:
            return
        self._go_on_alone(reason)

    def _within_room(self, count: int) -> Running | None:
        """How `count` ubatches run where threads would take the room of the result; notes it."""
        how = self.runner.within_room(self.planned, count)
        if how is not None:
            self.ubatches.on_fewer(how.threads, NO_ROOM)
        return how

    def _why_alone(self, error: Exception, *, together: bool) -> str | None:
        """What to tell of running those that were not stored one at a time; None where that is no help.

        `together` says that several were in flight.
        """
        if self.ubatches.all_stored():  # then it came after the rows: a receive hook's
            return None
        if is_a(error, ThreadStartError) and self.planned.schedule == "streamed":
            return text_of(error).partition(", and")[0]
        return MEMORY if together and self.layers.recovery.may_go_on_alone(error) else None

    def _go_on_alone(self, reason: str) -> None:
        """Run those that were not stored one at a time: they took each other's memory, or lack a thread."""
        if reason == MEMORY:
            self.layers.recovery.go_on_alone()
        else:
            self.ubatches.on_fewer(1, f"one at a time, as {reason}")
        for context in self.ubatches.unfinished():
            self.runner.run(self.planned, self.ubatches, [context], alone(self.planned))
