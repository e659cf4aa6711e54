"""What torch, Python and NumPy keep per thread, carried from the caller into workers.

Invariant: inside `apply` the thread computes as the caller did when the snapshot was taken. After it the
thread is as before, whatever ran inside and however it ended, so nothing leaks into the next step of a pooled
thread. Values are set and put back as they were, never as "one level up", so greenlets may enter and leave
states in any order. A function transform (vmap, grad) cannot be carried to another thread and is refused.
"""

from __future__ import annotations

import contextvars
import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import torch
from torch._C._functorch import peek_interpreter_stack

from microbatch.errors import ThreadStateError
from microbatch_backends.host.state import EnteredContext
from microbatch_backends.torch_device.arrays import transformed
from microbatch_backends.torch_device.modes import read_modes, write_modes
from microbatch_backends.torch_device.thread_place import ThreadPlace

__all__ = ["TorchState", "mode_depth"]


class TorchState:
    """A snapshot of the calling thread."""

    __slots__ = ("_thread", "context", "modes", "place", "place_value", "types")

    def __init__(self, types: tuple[str, ...], place: ThreadPlace | None = None) -> None:
        self._thread = threading.get_ident() if transformed() else None
        self.context = contextvars.copy_context()
        self.types = types
        """Device types whose autocast is carried."""
        self.modes = read_modes(types)
        self.place = place
        """Reads and sets device and stream; None for the CPU, which has neither."""
        self.place_value: Any = None if place is None else place.read()

    def apply(self) -> AbstractContextManager[None]:
        """Set it in the thread that enters, undo on exit; ThreadStateError inside a function transform."""
        if self._thread is not None and self._thread != threading.get_ident():
            raise ThreadStateError(
                "a function transform (torch.func.vmap, grad or jvp) is running in the caller"
                " and cannot be carried to another thread; use schedule='sequential',"
                " or put the transform inside the function"
            )
        return _Applied(self)


class _Applied:
    """One entry of a snapshot into one thread."""

    __slots__ = ("_before", "_entered", "_guard", "_nested", "_place_before", "_state")

    def __init__(self, state: TorchState) -> None:
        self._state = state
        self._entered = EnteredContext(state.context)
        self._nested = any(enabled for enabled, _ in state.modes.autocast)

    def __enter__(self) -> None:
        state = self._state
        # a fresh thread takes over the process's number of OpenMP threads only when it asks for it
        torch.get_num_threads()
        self._before = read_modes(state.types)
        self._place_before: Any = None
        self._entered.__enter__()
        guard: Any = torch._C._InferenceMode(state.modes.inference)  # nothing else sets inference mode
        guard.__enter__()
        self._guard = guard
        try:
            if (
                self._nested
            ):  # else leaving an autocast block inside would empty the caller's cache of cast weights
                torch.autocast_increment_nesting()
            write_modes(state.modes, state.types)
            if state.place is not None:
                self._place_before = state.place.enter(state.place_value)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        state = self._state
        try:
            if state.place is not None and self._place_before is not None:
                state.place.leave(self._place_before)
            if self._nested:
                torch.autocast_decrement_nesting()
        finally:
            self._guard.__exit__(None, None, None)
            write_modes(self._before, state.types)
            self._entered.__exit__(None, None, None)


def mode_depth() -> tuple[int, int, int]:
    """Lengths of the stacks that cannot be parked at a yield: function modes, dispatch modes, transforms."""
    transform = peek_interpreter_stack()
    return (
        torch._C._len_torch_function_stack(),
        torch._C._len_torch_dispatch_stack(),
        0 if transform is None else transform.level(),
    )
