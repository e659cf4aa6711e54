"""One ubatch while its step runs: its slice, its state, its gate, and how code finds its own ubatch.

Invariant: which ubatch is current, and which seat it has, is a context variable, never a global and never a
table keyed by thread. So two wrappers, a wrapper inside another, and threads that belong to no step do not
see each other. A ubatch that takes turns sees its own seat and nobody else's; outside a step, and in a
schedule without turns, there is none. A context costs about a microsecond to build, because a step may have
thousands: its gate is made when somebody first signals or waits.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from microbatch.errors import StateTransitionError
from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime, default_runtime
from microbatch.turns.state import TRANSITIONS, UBatchState

if TYPE_CHECKING:
    from microbatch.cutting.slices import UBatchSlice
    from microbatch.turns.seat import Seat


@dataclass(slots=True, eq=False, repr=False)
class UBatchContext:
    """A ubatch of a running step; made by the wrapper, read by schedules and model code."""

    slice_info: UBatchSlice
    """The tokens and requests of this ubatch."""
    ubatch_id: int = 0
    """Its place in the step, from 0, in row order."""
    num_ubatches: int = 1
    """How many ubatches the step has."""
    runtime: Runtime | None = None
    """Where gates and thread identities come from; None is the real threads."""
    num_real_tokens: int | None = None
    """Tokens of it that are no padding, the first ones; None where the step is not padded."""
    thread_id: Hashable = field(default=None, init=False)
    """The thread that entered it last, None before that."""
    gpu_wait_event: Any = field(default=None, init=False)
    """The device event recorded at its last hand-off, None before one."""
    _state: UBatchState = field(default=UBatchState.IDLE, init=False)
    _gates: dict[str, Gate] = field(default_factory=dict, init=False)

    @property
    def state(self) -> UBatchState:
        """Where it stands; only `advance`, `fail` and `reset` change it, by the table of transitions."""
        return self._state

    @property
    def cpu_wait_event(self) -> Gate:
        """The gate that this ubatch waits in; made on first use, the same one for every thread that asks."""
        made = self._gates.get("cpu")
        return made or self._gates.setdefault("cpu", (self.runtime or default_runtime()).gate())

    def signal_ready(self) -> None:
        """Let one `wait_ready` of this context pass; signalling twice is signalling once."""
        self.cpu_wait_event.open()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds (None: for ever) for a signal and take it; False if none came."""
        return self.cpu_wait_event.wait(timeout)

    def advance(self, new: UBatchState) -> None:
        """Change the state; raises StateTransitionError, and changes nothing, if `new` may not follow."""
        if new not in TRANSITIONS[self._state]:
            allowed = ", ".join(sorted(follower.name for follower in TRANSITIONS[self._state]))
            raise StateTransitionError(
                f"a ubatch in state {self._state.name} cannot become {new.name}; it can become {allowed}"
            )
        self._state = new

    def fail(self) -> None:
        """Note that it raised: FAILED, unless it had ended before. Never raises: an error is being recorded.

        One that completed stays COMPLETED: its rows are in the result, and what it raised afterwards (a
        receive hook, an interrupt while progress is told) is an error of the step, not of its rows.
        """
        if UBatchState.FAILED in TRANSITIONS[self._state]:
            self._state = UBatchState.FAILED

    def reset(self) -> None:
        """Back to IDLE, without signal, event or thread; raises StateTransitionError while it is running."""
        if self._state is not UBatchState.IDLE:
            self.advance(UBatchState.IDLE)
        self._gates = {}
        self.gpu_wait_event = None
        self.thread_id = None

    def end(self) -> None:
        """Its step has ended: let its gate go, so that code which keeps the context keeps no descriptor."""
        self._gates = {}

    def __repr__(self) -> str:
        return f"<ubatch {self.ubatch_id} of {self.num_ubatches}, {self.state.name}, {self.slice_info}>"


class Place:
    """Where code runs: in which ubatch, and with which seat until that ubatch ends.

    Threads and tasks that the function starts copy the variable and may outlive the ubatch. Taking the seat
    from the place takes it from all copies at once: their yield points then do nothing.
    """

    __slots__ = ("context", "seat")

    def __init__(self, context: UBatchContext | None, seat: Seat | None = None) -> None:
        self.context = context
        """The innermost ubatch; None outside of steps."""
        self.seat = seat
        """Where yield points go; None where they do nothing. Filled when it is made, never later."""


NOWHERE = Place(None)
"""Outside of steps; never changed, as it has no seat that could be taken away."""

PLACE: ContextVar[Place] = ContextVar("microbatch_place", default=NOWHERE)
"""Where the calling code runs, the one thing that a yield point looks at.

One variable, not two: `finally: PLACE.set(former)` leaves a ubatch whatever happens. Python looks for signals
when it enters a function of Python and after each call, so no interrupt can come before that one call of C.
"""

AT_COLLECTIVES: ContextVar[bool] = ContextVar("microbatch_at_collectives", default=False)
"""Whether the calling code passes the turn where its framework waits for a collective."""


def current_ubatch() -> UBatchContext | None:
    """The context of the ubatch that the calling code runs in, None outside a step."""
    return PLACE.get().context


def enter(context: UBatchContext, seat: Seat | None = None) -> Place:
    """Make `context` current, with the seat that its schedule gave it; return that place.

    A schedule without turns gives none. That hides the seat of a ubatch outside, whose turn is not to be
    passed by the yield points in here: the thread that runs them has more to do before it may wait.
    """
    context.thread_id = (context.runtime or default_runtime()).current()
    place = Place(context, seat)
    PLACE.set(place)
    return place


class AtCollectives(AbstractContextManager[None]):
    """A block whose steps pass the turn at collectives. It may be left more than once."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before = AT_COLLECTIVES.get()

    def __enter__(self) -> None:
        AT_COLLECTIVES.set(True)

    def __exit__(self, *error: object) -> None:
        AT_COLLECTIVES.set(self._before)


def yield_at_collectives() -> AbstractContextManager[None]:
    """Inside the block, steps with `schedule="pingpong"` pass the turn wherever torch.distributed waits for a
    collective, functional ones too, so that a model without yield points overlaps. As the option of that name
    of a wrapper, for whoever calls one that somebody else has made."""
    return AtCollectives()


class Apart(AbstractContextManager[None]):
    """A block that is one piece of work of the ubatch it runs in: no yield point in it passes the turn.

    Around each wrapped call inside a ubatch, so that a step that is not cut, and the calls that show whether
    it may be, hide the seat of the ubatch outside as cut steps do. `current_ubatch` stays: the block does run
    in that ubatch. No generator: that would write to an error that passes, whose class may refuse it.
    """

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token: Token[Place] = PLACE.set(Place(current_ubatch()))

    def __exit__(self, *error: object) -> None:
        PLACE.reset(self._token)
