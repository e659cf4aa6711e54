"""The modes torch keeps per thread, read and set as one record.

Invariant: writing what was read changes nothing, and after a write a read gives the same record. Inference
mode is the exception: it is read here, and set by a guard of the caller.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class Modes(NamedTuple):
    """The modes of a thread."""

    grad: bool
    """Whether autograd records."""
    inference: bool
    """Whether inference mode is on."""
    forward: bool
    """Whether forward-mode differentiation is on."""
    multithreading: bool
    """Whether a backward pass may use several threads."""
    autocast: tuple[tuple[bool, torch.dtype], ...]
    """(enabled, dtype) of autocast for each device type that is carried."""
    autocast_cache: bool
    """Whether autocast keeps the weights that it has cast."""
    functions: tuple[Any, ...]
    """The stack of function modes, bottom first; a default device is one of them."""
    dispatch: tuple[Any, ...]
    """The stack of dispatch modes, bottom first."""


class Unrecorded:
    """The block in which autograd records nothing in the calling thread; it may be left more than once.

    Rejected: `torch.no_grad`, which an interrupt between two of its lines leaves on for good.
    """

    __slots__ = ("_before",)

    def __init__(self) -> None:
        self._before = torch.is_grad_enabled()

    def __enter__(self) -> None:
        torch._C._set_grad_enabled(False)

    def __exit__(self, *exc_info: object) -> None:
        torch._C._set_grad_enabled(self._before)


class Inference:
    """The block in which inference mode is on, or off, in the calling thread; may be left more than once."""

    __slots__ = ("_guards", "_on")

    def __init__(self, *, on: bool) -> None:
        self._on = on
        self._guards: list[Any] = []

    def __enter__(self) -> None:
        self._guards.extend(map(torch._C._InferenceMode, (self._on,)))  # on once made; kept in the same step

    def __exit__(self, *exc_info: object) -> None:
        self._guards.clear()


def autocast_types(device_type: str) -> tuple[str, ...]:
    """Device types whose autocast is carried: the CPU, the accelerator of this build, and `device_type`."""
    accelerator = torch.accelerator.current_accelerator()
    found = ["cpu", device_type] + ([accelerator.type] if accelerator is not None else [])
    return tuple(dict.fromkeys(found))


def read_modes(types: tuple[str, ...]) -> Modes:
    """The calling thread's modes (about 1 us)."""
    functions, dispatch = torch._C._len_torch_function_stack(), torch._C._len_torch_dispatch_stack()
    return Modes(
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch._C._is_fwd_grad_enabled(),
        torch._C._is_multithreading_enabled(),
        tuple([(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in types]),
        torch.is_autocast_cache_enabled(),
        tuple(map(torch._C._get_function_stack_at, range(functions))) if functions else (),
        tuple(map(torch._C._get_dispatch_stack_at, range(dispatch))) if dispatch else (),
    )


def write_modes(wanted: Modes, types: tuple[str, ...]) -> None:
    """Set the modes that differ in the calling thread, all but inference mode."""
    now = read_modes(types)
    if now == wanted:
        return
    torch._C._set_grad_enabled(wanted.grad)
    torch._C._set_fwd_grad_enabled(wanted.forward)
    torch._C._set_multithreading_enabled(wanted.multithreading)
    for kind, (enabled, dtype) in zip(types, wanted.autocast, strict=True):
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)
    torch.set_autocast_cache_enabled(wanted.autocast_cache)
    if not _same(now.functions, wanted.functions):
        _write_functions(wanted.functions)
    if not _same(now.dispatch, wanted.dispatch):
        _write_dispatch(wanted.dispatch)


def _write_functions(modes: tuple[Any, ...]) -> None:
    while torch._C._len_torch_function_stack():
        torch._C._pop_torch_function_stack()
    for mode in modes:
        torch._C._push_on_torch_function_stack(mode)


def _write_dispatch(modes: tuple[Any, ...]) -> None:
    while torch._C._len_torch_dispatch_stack():
        torch._C._pop_torch_dispatch_stack(None)
    for mode in modes:
        torch._C._push_on_torch_dispatch_stack(mode)


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
