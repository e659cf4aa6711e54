"""On how many threads ubatches run: as planned, or on as many as the address space has room for.

Invariant: where the address space is not limited, nothing changes, and nor does it where other ranks run the
step too, or where rows are brought to a device. Where it is limited, the first ubatch runs in the caller's
thread, so that the result is made before threads take theirs, and then no more threads start than leave room
for what they work on. Ubatches that take turns do so in smaller groups, down to one at a time.

Rejected: to start them and see. What a thread has taken stays taken when it ends (three threads of a pipeline
took 216 MiB and used 4), so the result found no room any more.
"""

from __future__ import annotations

from typing import NamedTuple

from microbatch.host.address_space import address_space_is_limited, address_space_left, threads_that_fit
from microbatch.options.fields import UBatchConfig
from microbatch.schedules.staging import moves
from microbatch.schedules.streamed import SLOTS
from microbatch.step.planned import Planned
from microbatch.turns.runtime import stack_that_was_set

NO_ROOM = "the address space has no room for more threads"


class Running(NamedTuple):
    """How ubatches run; a tuple, as a step makes one and it costs a third of a frozen record."""

    schedule: str
    """Name of the schedule."""
    workers: int
    """Most that run at the same time, where they do not take turns."""
    together: int | None
    """Most that are alive at the same time, where they do; None for any number."""
    threads: int = 1
    """How many threads they run on."""


def is_limited(planned: Planned, config: UBatchConfig) -> bool:
    """Whether the threads of this step are held to the address space that is left."""
    if not address_space_is_limited():
        return False
    threads = planned.schedule != "pingpong" or config.driver == "threads"
    return threads and not _brings(planned) and planned.ranks is None


def within_room(planned: Planned, count: int, there: int) -> Running | None:
    """How `count` ubatches run in a limited address space; `there` are threads for them already.

    None where there is room for all of their threads.
    """
    threads = there + threads_that_fit(address_space_left(), stack_that_was_set())
    return None if threads >= _wanted(planned, count) else _on_fewer(planned, 1 + threads)


def alone(planned: Planned) -> Running:
    """One ubatch at a time in the caller's thread, where a device does not need streams for its rows."""
    return Running("streamed" if _brings(planned) else "sequential", 1, planned.plan.together)


def _on_fewer(planned: Planned, threads: int) -> Running:
    """`threads` and no more, the caller's included; a pipeline has all of its own or none."""
    if planned.schedule == "streamed" or threads < 2:
        return Running("sequential", 1, None)
    return Running(planned.schedule, threads, threads, threads=threads)


def _wanted(planned: Planned, count: int) -> int:
    """Threads besides the caller's that the schedule starts for `count` ubatches."""
    plan = planned.plan
    most = {"streamed": SLOTS + 1, "pingpong": min(count, plan.together or count)}
    return most.get(planned.schedule, min(count, plan.workers)) - 1


def _brings(planned: Planned) -> bool:
    """Whether the schedule brings the rows to a device, which no other does."""
    return planned.schedule == "streamed" and moves(planned.device)
