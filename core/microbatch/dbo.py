"""Yield points for model code: the names and meaning of vLLM's dual batch overlap helpers.

Invariant: outside a step that takes turns every function here does nothing, and costs one look at a context
variable (about 50 ns with the call), so model code needs no branches and no import of vLLM. A ubatch of a
step with `schedule="pingpong"` has a seat at a ring, and there they work.

What differs from vLLM, on purpose: a second receive hook does not overwrite the first. A hook registered when
no sibling is left runs at once. The yields take an optional label, which is shown where a wait passes its
limit. A yield in a thread that the function started itself is an error that says so, and no KeyError.

A wrapper that is called inside a ubatch, and `check` and `tune`, are one piece of work of that ubatch. What
is in there belongs to the step in there: where that takes turns, its ubatches pass the turn among themselves;
where it does not, because it is not cut or its schedule has no turns, everything here does nothing, and
`dbo_enabled()` says so. (vLLM has one step at a time.) Rejected: to let a yield in there pass the outer turn,
which would happen in a step that runs whole, and not in the same step cut.

The yields, the switches and `dbo_maybe_run_recv_hook` may be called in code that `torch.compile` compiles,
with `fullgraph=True` too (`loading/compiled.py`). The others give or take what differs from ubatch to ubatch,
which a graph cannot hold; there they are refused, as all code that cannot be traced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microbatch.loading.compiled import as_operation
from microbatch.turns.context import PLACE
from microbatch.turns.token_offset import token_offset

__all__ = [
    "dbo_current_ubatch_id",
    "dbo_current_ubatch_token_offset",
    "dbo_enabled",
    "dbo_get_previous_event",
    "dbo_maybe_run_recv_hook",
    "dbo_num_ubatches",
    "dbo_register_recv_hook",
    "dbo_switch_to_comm",
    "dbo_switch_to_comm_sync",
    "dbo_switch_to_compute",
    "dbo_switch_to_compute_sync",
    "dbo_yield",
    "dbo_yield_and_switch_from_comm_to_compute",
    "dbo_yield_and_switch_from_compute_to_comm",
]

_place = PLACE.get
"""Looked at in each function itself: a call around it would double the cost of a yield outside a step."""


def dbo_enabled() -> bool:
    """Whether the calling code runs in a ubatch that takes turns."""
    return _place().seat is not None


def dbo_current_ubatch_id() -> int:
    """The ubatch of the innermost step that the calling code runs in, from 0; 0 outside a step.

    The innermost one: buffers that are chosen by it are never those of a ubatch that waits for its turn.
    """
    context = _place().context
    return 0 if context is None else context.ubatch_id


def dbo_num_ubatches() -> int:
    """How many ubatches that same step has, whatever its schedule; 1 outside a step.

    So `dbo_current_ubatch_id() < dbo_num_ubatches()` holds everywhere. vLLM keeps the number of the last step
    of the process, and 2 before the first.
    """
    context = _place().context
    return 1 if context is None else context.num_ubatches


def dbo_current_ubatch_token_offset() -> int:
    """The first token of the batch that this call of the function was given; 0 outside a step.

    It counts in the order in which that step runs its tokens, which is the batch's own unless requests were
    put in another (splitter "packed"). A part that runs again in smaller ones, as memory ran out, counts on.
    """
    return token_offset()


@as_operation
def dbo_yield(label: str = "") -> None:
    """Let the next ubatch run; returns when the turn is back, on the stream that was current before."""
    seat = _place().seat
    if seat is not None:
        seat.hand_over(label)


@as_operation
def dbo_switch_to_comm() -> None:
    """Make the communication stream current; orders nothing."""
    seat = _place().seat
    if seat is not None:
        seat.streams.switch("communication")


@as_operation
def dbo_switch_to_compute() -> None:
    """Make the compute stream current; orders nothing."""
    seat = _place().seat
    if seat is not None:
        seat.streams.switch("compute")


@as_operation
def dbo_switch_to_comm_sync() -> None:
    """Make the communication stream current; its later work waits for the compute work so far."""
    seat = _place().seat
    if seat is not None:
        seat.switch_ordered("communication")


@as_operation
def dbo_switch_to_compute_sync() -> None:
    """Make the compute stream current; its later work waits for the communication so far."""
    seat = _place().seat
    if seat is not None:
        seat.switch_ordered("compute")


@as_operation
def dbo_yield_and_switch_from_compute_to_comm(label: str = "") -> None:
    """Pass the turn, then go on in the communication stream, after this ubatch's own compute work.

    The mark is set before the turn is passed, so communication does not wait for what siblings compute
    meanwhile. Raises ThreadStateError if the ubatch is not on its compute stream.
    """
    seat = _place().seat
    if seat is not None:
        seat.hand_over_to("communication", label)


@as_operation
def dbo_yield_and_switch_from_comm_to_compute(label: str = "") -> None:
    """Pass the turn, then go on in the compute stream, after this ubatch's own communication.

    Raises ThreadStateError if the ubatch is not on its communication stream.
    """
    seat = _place().seat
    if seat is not None:
        seat.hand_over_to("compute", label)


def dbo_register_recv_hook(recv_hook: Callable[[], Any]) -> None:
    """Leave `recv_hook` for the ubatch that runs next: at its `dbo_maybe_run_recv_hook`, or at its end."""
    seat = _place().seat
    if seat is not None:
        seat.register_hook(recv_hook)


@as_operation
def dbo_maybe_run_recv_hook() -> None:
    """Run the hooks that siblings left for this ubatch."""
    seat = _place().seat
    if seat is not None:
        seat.run_hooks()


def dbo_get_previous_event(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `func` with the compute stream current and return what it returns; None outside a step."""
    seat = _place().seat
    return None if seat is None else seat.streams.on_compute(func, *args, **kwargs)
