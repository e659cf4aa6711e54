"""Yield points where torch.distributed waits for a collective, for models that have none of their own.

Invariant: inside a ubatch that takes turns, and only where it was asked for, every wait for communication
passes the turn first. So the collective is on its way while siblings compute, and is waited for when the turn
is back. A wait never looks whether the communication has ended already: that differs from rank to rank, and
so would the order of the collectives. Everywhere else the hooks do nothing but call what they stand before.

All of torch's functions start a collective and then call `wait` of what they got (`all_reduce` and its like
do so themselves, a model with `async_op=True` later), and the functional ones end in one function. These are
the places; whichever way a model has imported its collectives, it comes through them. Compiled code does not,
as its collectives are inside of the graph.

The hooks stay once they are set, since another thread may be in them; whether they pass the turn is a context
variable. Rejected: replacing the functions of torch.distributed, which a model may have imported by name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch.distributed import _functional_collectives as functional
from torch.distributed import distributed_c10d

from microbatch.dbo import dbo_enabled, dbo_yield
from microbatch.turns.context import AT_COLLECTIVES

STARTING = (
    "allreduce",
    "allreduce_coalesced",
    "allgather",
    "_allgather_base",
    "all_gather_single",
    "all_gather_single_coalesced",
    "allgather_coalesced",
    "allgather_into_tensor_coalesced",
    "reduce_scatter",
    "_reduce_scatter_base",
    "reduce_scatter_single",
    "reduce_scatter_single_coalesced",
    "reduce_scatter_tensor_coalesced",
    "alltoall",
    "alltoall_base",
    "all_to_all_single",
    "broadcast",
    "reduce",
    "gather",
    "scatter",
)
"""The methods of a process group that start a collective and take options as their last argument. Each
version of torch has some of them."""
MARK = "__microbatch_hooked__"
"""On a function that is a hook of this module."""


def hook_collectives() -> None:
    """Set the hooks; twice is once."""
    _hook(distributed_c10d.Work, "wait", _before_wait)
    _hook(functional, "_maybe_wrap_tensor", _after_start)
    for name in STARTING:
        _hook(distributed_c10d.ProcessGroup, name, _started_apart)


def _hook(owner: Any, name: str, made: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    set_hook(owner, name, made, MARK)


def set_hook(
    owner: Any, name: str, made: Callable[[Callable[..., Any]], Callable[..., Any]], mark: str
) -> None:
    """Put what `made` makes of the function in its place, with `mark`; nothing where it has that already, or
    this torch has no such function."""
    function = getattr(owner, name, None)
    if function is None or hasattr(function, mark):
        return
    hook = wraps(function)(made(function))
    setattr(hook, mark, True)
    setattr(owner, name, hook)


def _before_wait(wait: Callable[..., Any]) -> Callable[..., Any]:
    def hooked(work: Any, *args: Any, **kwargs: Any) -> Any:
        if AT_COLLECTIVES.get():
            dbo_yield("a collective")
        return wait(work, *args, **kwargs)

    return hooked


def _after_start(wrap: Callable[..., Any]) -> Callable[..., Any]:
    """A functional collective is waited for by the first operation on its result, deep inside of torch, where
    the turn cannot be passed on greenlets; so it is passed here."""

    def hooked(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        made = wrap(tensor, *args, **kwargs)
        if AT_COLLECTIVES.get() and not functional._are_we_tracing():
            dbo_yield("a functional collective")
        return made

    return hooked


def _started_apart(start: Callable[..., Any]) -> Callable[..., Any]:
    """On a device, a collective that will be waited for at once is put on the stream of the compute work;
    this one shall be on a stream of its own."""

    def hooked(group: Any, *args: Any, **kwargs: Any) -> Any:
        options: Any = args[-1] if args else None
        if AT_COLLECTIVES.get() and hasattr(options, "asyncOp") and dbo_enabled():
            options.asyncOp = True
        return start(group, *args, **kwargs)

    return hooked
