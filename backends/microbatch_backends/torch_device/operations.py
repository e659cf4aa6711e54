"""Yield points as operations of torch, for code that it compiles: `torch.ops.microbatch.dbo_yield`.

Invariant: each call of an operation is one call of the function of `microbatch.dbo`, in the thread or
greenlet that runs the compiled code. An operation has an effect that torch keeps in order: it is neither left
out nor run twice, and stays in its place among all operations with effects. The compiler `inductor` may move
work without effects (a product, a sine) across it, which changes no value. What a receive hook fills is not
known to torch; an operation that reads it must have an effect too. Importing this module defines them.

The dispatcher of torch is passed by, unless torch traces. A greenlet cannot be left inside it: its bindings
count the calls of a thread, and end the process where one returns before the one that began after it.

An operation cannot change the stream: kernels that `inductor` makes are launched on the one that was current
when the compiled code began. So where ubatches have streams, a switch in compiled code is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._higher_order_ops import effects
from torch.utils._python_dispatch import _disable_current_modes

from microbatch import dbo
from microbatch.errors import ThreadStateError
from microbatch.loading.compiled import operation_names
from microbatch.turns.context import PLACE
from microbatch.turns.handoff import ThreadRing

NAMESPACE = "microbatch"
"""The operations are attributes of `torch.ops.microbatch`."""


def define(library: Any, names: Sequence[str]) -> Any:
    """Define an operation for each function of `microbatch.dbo` in `names`; returns `library`, to be kept."""
    for name in names:
        label = 'str label=""' if name.startswith("dbo_yield") else ""
        library.define(f"{name}({label}) -> ()", tags=_tags())
        function = _called(name)
        library.impl(name, _dispatched(name, function), "CompositeExplicitAutograd")
        torch.library.register_fake(f"{NAMESPACE}::{name}", _nothing, lib=library)
        operation = getattr(getattr(torch.ops, NAMESPACE), name)
        effects._register_effectful_op(operation.default, effects._EffectType.ORDERED)
        _pass_dispatcher(operation, function)
        _pass_dispatcher(operation.default, function)
    return library


def _pass_dispatcher(operation: Any, function: Callable[..., None]) -> None:
    """Let `operation`, called in Python while torch does not trace, call `function` at once."""
    dispatched = operation._op

    def called(*label: str, **named: str) -> None:
        if not torch._C._len_torch_dispatch_stack():
            function(*label, **named)
        elif _traced():
            dispatched(*label, **named)
        else:
            with _disable_current_modes():
                function(*label, **named)

    operation._op = called


def _traced() -> bool:
    """Whether a compiler is tracing.

    What it has compiled runs in a mode the first time, too: one that watches operations. It is put away while
    siblings have the turn.
    """
    keys = torch._C._TorchDispatchModeKey
    return any(
        torch._C._get_dispatch_mode(key) is not None for key in (keys.FAKE, keys.PROXY, keys.FUNCTIONAL)
    )


def _dispatched(name: str, function: Callable[..., None]) -> Callable[..., None]:
    """`function` called by the dispatcher, which a greenlet cannot leave half-way."""

    def call(*label: str) -> None:
        seat = PLACE.get().seat
        if seat is not None and not isinstance(seat.ring, ThreadRing):
            raise ThreadStateError(
                f"{name} was called by torch's dispatcher, as where a dispatch mode is on, and a greenlet"
                " cannot pass the turn there; leave the mode before, or use driver='threads'"
            )
        function(*label)

    return call


def _tags() -> tuple[torch.Tag, ...]:
    """Not to be captured in a graph of the device: a replay would not pass the turn."""
    unsafe = getattr(torch.Tag, "cudagraph_unsafe", None)  # there since torch 2.9
    return () if unsafe is None else (unsafe,)


def _called(name: str) -> Callable[..., None]:
    function: Callable[..., None] = getattr(dbo, name)
    return _refusing(name, function) if "switch" in name else function


def _refusing(name: str, function: Callable[..., None]) -> Callable[..., None]:
    """`function`, which changes the stream, but an error where there are streams."""

    def switch(*label: str, **named: str) -> None:
        seat = PLACE.get().seat
        if seat is not None and seat.streams.has_streams:
            raise ThreadStateError(
                f"{name} was called in compiled code, whose kernels stay on the stream on which it began;"
                " call it outside of what is compiled, where dbo_yield may stay"
            )
        function(*label, **named)

    return switch


def _nothing(*label: str) -> None:
    """What it does while it is traced."""


new_library: Any = torch.library.Library
LIBRARY = define(new_library(NAMESPACE, "FRAGMENT"), operation_names(dbo))
"""The operations; they exist as long as this does."""
