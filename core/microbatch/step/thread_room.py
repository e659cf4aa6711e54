"""On how many threads ubatches run: as planned, or on as many as the address space has room for.

Invariant: where the address space is not limited, nothing changes, and nor does it where other ranks run the
step too, or where rows are brought to a device. Where it is limited, the first ubatch runs in the caller's
thread, so that the result is made before threads take theirs, and then no more threads start than leave room
for what they work on. Ubatches that take turns do so in smaller groups, down to one at a time.

Rejected: to start them and see. What a thread has taken stays taken when it ends (three threads of a pipeline
took 216 MiB and used 4), so the result found no room any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from microbatch.host.address_space import address_space_left, threads_that_fit
from microbatch.options.fields import UBatchConfig
from microbatch.schedules.staging import moves
from microbatch.schedules.streamed import SLOTS
from microbatch.step.planned import Planned
from microbatch.turns.runtime import stack_that_was_set

NO_ROOM = "the address space has no room for more threads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How ubatches run."""

    schedule: str
    """Name of the schedule."""
    workers: int
    """Most that run at the same time, where they do not take turns."""
    together: int | None
    """Most that are alive at the same time, where they do; None for any number."""
    threads: int | None = None
    """How many threads they run on, where they are fewer than planned; None else."""


def is_limited(planned: Planned, config: UBatchConfig) -> bool:
    """Whether the threads of this step are held to the address space that is left."""
    return _wanted(planned, config, 2) > 0 and address_space_left() is not None and not _elsewhere(planned)


def running(planned: Planned, config: UBatchConfig, count: int, there: int) -> Running:
    """How `count` ubatches of the step run now; `there` are threads for them already."""
    plan = planned.plan
    several = count > 1 or planned.schedule == "streamed"
    name = planned.schedule if several else "sequential"
    as_planned = Running(schedule=name, workers=plan.workers, together=plan.together)
    wanted = _wanted(planned, config, count)
    left = address_space_left() if wanted else None
    if left is None or _elsewhere(planned):
        return as_planned
    if count < 2:
        return alone(planned)
    threads = there + threads_that_fit(left, stack_that_was_set())
    return as_planned if threads >= wanted else _on_fewer(planned, 1 + threads)


def alone(planned: Planned) -> Running:
    """One ubatch at a time in the caller's thread, where a device does not need streams for its rows."""
    name = "streamed" if _brings(planned) else "sequential"
    return Running(schedule=name, workers=1, together=planned.plan.together)


def _on_fewer(planned: Planned, threads: int) -> Running:
    """`threads` and no more, the caller's included; a pipeline has all of its own or none."""
    if planned.schedule == "streamed" or threads < 2:
        return Running(schedule="sequential", workers=1, together=None, threads=1)
    return Running(schedule=planned.schedule, workers=threads, together=threads, threads=threads)


def _wanted(planned: Planned, config: UBatchConfig, count: int) -> int:
    """Threads besides the caller's that the schedule starts for `count` ubatches."""
    if planned.schedule == "streamed":
        return SLOTS
    if planned.schedule == "parallel":
        return min(count, planned.plan.workers) - 1
    if planned.schedule == "pingpong" and config.driver == "threads":
        return min(count, planned.plan.together or count) - 1
    return 0


def _elsewhere(planned: Planned) -> bool:
    """Whether other ranks or a device need the schedule as it is."""
    return _brings(planned) or planned.ranks is not None


def _brings(planned: Planned) -> bool:
    """Whether the schedule brings the rows to a device, which no other does."""
    return planned.schedule == "streamed" and moves(planned.device)
