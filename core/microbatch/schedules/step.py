"""What a schedule is given: the ubatches of one step and the three things to do with each.

Invariant: a schedule calls `load`, `compute` and `store` exactly once, in this order, for every context it
does not abandon because of an error; it raises the first error and leaves no thread running. It knows nothing
of layouts, policies or arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from microbatch.extend.device import Device
from microbatch.extend.protocols import Backend
from microbatch.options.fields import UBatchConfig
from microbatch.turns.ambient import Ambient
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime
from microbatch.turns.seat import Seat
from microbatch.turns.workers import WorkerPool

Work = Callable[..., Any]
"""Something that a schedule does itself with a ubatch."""


def nothing_to_give_back(again: bool) -> None:
    """For steps on a device that caches no memory."""


def unwatched(phase: str, work: Work) -> Work:
    """For steps that nobody records."""
    return work


def unwatched_seats(seats: Sequence[Seat]) -> Sequence[Seat]:
    """For steps that nobody records."""
    return seats


class Queue(Protocol):
    """Ubatches that any thread may take, each of them once; a `deque` of contexts is one."""

    def popleft(self) -> UBatchContext:
        """The next one; raises IndexError where none is left."""
        ...

    def clear(self) -> None:
        """Give none from now on."""
        ...


class Step(Struct, frozen=True, kw_only=True):
    """One planned step."""

    contexts: Sequence[UBatchContext]
    """One per ubatch, in row order."""
    load: Callable[[UBatchContext], Any]
    """Cut the ubatch's part out of the batch (views where possible)."""
    compute: Callable[[UBatchContext, Any], Any]
    """Call the wrapped function on the part; this is where the user's code runs and may yield."""
    store: Callable[[UBatchContext, Any], None]
    """Write the outputs to their place in the result; safe from any thread."""
    device: Device
    """Streams, events, thread state, and which optional abilities there are."""
    config: UBatchConfig
    """Limits: barrier_timeout, strict_yields, driver."""
    runtime: Runtime
    """The seam for threads and time."""
    workers: WorkerPool
    """Threads that live across steps."""
    parallelism: int = 1
    """Most ubatches that may run at the same time, the caller's included."""
    ambient: Ambient | None = None
    """What surrounds each ubatch while it runs; None for nothing."""
    make_room: Callable[[bool], None] = nothing_to_give_back
    """make_room(again): for a schedule that runs out of memory itself; `again` where a second try failed."""
    together: int | None = None
    """Most ubatches that may be alive at the same time where they take turns; None for any number."""
    queue: Queue | None = None
    """Where ubatches come from instead of `contexts`, which are none then: they are planned as the step goes.
    Only schedules whose ubatches do not wait for each other are given one."""
    on_fewer: Callable[[int, str], None] = lambda threads, reason: None
    """on_fewer(threads, reason): the schedule had no more than `threads`, fewer than planned."""
    watched: Callable[[str, Work], Work] = unwatched
    """watched(phase, work): what a schedule does itself, such as copying, seen by who records the step."""
    watched_seats: Callable[[Sequence[Seat]], Sequence[Seat]] = unwatched_seats
    """watched_seats(seats): the seats of ubatches that take turns, seen by who records the step."""

    @property
    def backend(self) -> Backend:
        """The backend of the device."""
        return self.device.backend


Schedule = Callable[[Step], None]
"""A schedule is a function; the registry of names is in `step/choose_schedule.py`."""
