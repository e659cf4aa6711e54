"""What torch, Python and NumPy keep per thread, carried from the caller into workers.

Invariant: inside `apply` the thread computes as the caller did at capture; after it the thread is as before,
whatever ran inside and however it ended, so nothing leaks into the next step of a pooled thread. Everything is set
and put back as absolute values, never as "one level up", so states that greenlets enter and leave in any order do
not mix. Function transforms (vmap, grad) cannot be carried to another thread: that is refused.
"""

from __future__ import annotations

import contextvars
import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

import torch
from torch._C._functorch import peek_interpreter_stack

from microbatch.errors import ThreadStateError
from microbatch_backends.host.state import EnteredContext
from microbatch_backends.torch_device.arrays import transformed
from microbatch_backends.torch_device.modes import Modes, read_modes, write_modes

__all__ = ["DevicePlace", "TorchState", "mode_depth"]


class DevicePlace(Protocol):
    """Which device and stream a thread launches on; None for the CPU, which has neither."""

    def read(self) -> Any:
        """The calling thread's device and stream."""
        ...

    def enter(self, value: Any) -> Any:
        """Set them in the calling thread; returns what `leave` needs to put the former ones back."""
        ...

    def leave(self, before: Any) -> None:
        """Undo `enter`."""
        ...


class TorchState:
    """A snapshot of the calling thread."""

    __slots__ = ("_context", "_modes", "_place", "_place_value", "_thread", "_types")

    def __init__(self, types: tuple[str, ...], place: DevicePlace | None = None) -> None:
        self._context = contextvars.copy_context()
        self._types = types
        self._modes = read_modes(types)
        self._thread = threading.get_ident() if transformed() else None
        self._place = place
        self._place_value = None if place is None else place.read()

    def apply(self) -> AbstractContextManager[None]:
        """Set it in the thread that enters, undo on exit; ThreadStateError inside a function transform."""
        if self._thread is not None and self._thread != threading.get_ident():
            raise ThreadStateError(
                "a function transform (torch.func.vmap, grad or jvp) is running in the caller and cannot be carried"
                " to another thread; use schedule='sequential', or put the transform inside the function"
            )
        return _Applied(self._context, self._modes, self._types, self._place, self._place_value)


class _Applied:
    """One entry of a snapshot into one thread."""

    __slots__ = (
        "_before",
        "_entered",
        "_guard",
        "_modes",
        "_nested",
        "_place",
        "_place_before",
        "_place_value",
        "_types",
    )

    def __init__(
        self,
        context: contextvars.Context,
        modes: Modes,
        types: tuple[str, ...],
        place: DevicePlace | None,
        place_value: Any,
    ) -> None:
        self._entered = EnteredContext(context)
        self._modes = modes
        self._types = types
        self._nested = any(enabled for enabled, _ in modes.autocast)
        self._place = place
        self._place_value = place_value

    def __enter__(self) -> None:
        torch.get_num_threads()  # makes a fresh thread take over the OpenMP thread count it would else not know
        self._before = read_modes(self._types)
        self._place_before: Any = None
        self._entered.__enter__()
        guard: Any = torch._C._InferenceMode(self._modes.inference)  # this alone sets the mode
        guard.__enter__()
        self._guard = guard
        try:
            if self._nested:  # else an autocast block inside empties the weight cache of the caller's
                torch.autocast_increment_nesting()
            write_modes(self._modes, self._types)
            if self._place is not None:
                self._place_before = self._place.enter(self._place_value)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._place is not None and self._place_before is not None:
                self._place.leave(self._place_before)
            if self._nested:
                torch.autocast_decrement_nesting()
        finally:
            self._guard.__exit__(None, None, None)
            write_modes(self._before, self._types)
            self._entered.__exit__(None, None, None)


def mode_depth() -> tuple[int, int, int]:
    """Lengths of the stacks that cannot be parked at a yield: function modes, dispatch modes, transforms."""
    transform = peek_interpreter_stack()
    return (
        torch._C._len_torch_function_stack(),
        torch._C._len_torch_dispatch_stack(),
        0 if transform is None else transform.level(),
    )
