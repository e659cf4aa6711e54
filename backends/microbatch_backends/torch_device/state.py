"""What torch, Python and NumPy keep per thread, carried from the caller into workers.

Invariant: inside `apply` the thread computes and launches as the caller did when the snapshot was taken.
After it the thread is as before, whatever ran inside and however it ended, so nothing leaks into the next
step of a pooled thread. Values are set and put back as they were, never as "one level up", so greenlets may
enter and leave states in any order. A function transform (vmap, grad) cannot be carried to another thread and
is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch._C._functorch import peek_interpreter_stack

from microbatch.errors import ThreadStateError
from microbatch_backends.host.state import HostState, OneStep
from microbatch_backends.torch_device.arrays import transformed
from microbatch_backends.torch_device.device_module import DeviceModule
from microbatch_backends.torch_device.modes import Inference, Modes, read_modes, write_modes


class TorchState:
    """A snapshot of the calling thread: its modes, and its device and stream where `module` is given.

    `types` are the device types whose autocast is carried.
    """

    __slots__ = ("_host", "_modes", "_module", "_place", "_thread", "_types")

    def __init__(self, types: tuple[str, ...], module: DeviceModule | None = None) -> None:
        self._thread = threading.get_ident() if transformed() else None
        self._host = HostState()
        self._types = types
        self._modes = read_modes(types)
        self._module = module
        self._place: Any = None if module is None else (module.current_stream(), module.index())

    def apply(self) -> AbstractContextManager[None]:
        """Set it in the thread that enters, undo on exit; ThreadStateError inside a function transform."""
        if self._thread is not None and self._thread != threading.get_ident():
            raise ThreadStateError(
                "a function transform (torch.func.vmap, grad or jvp) is running in the caller"
                " and cannot be carried to another thread; use schedule='sequential',"
                " or put the transform inside the function"
            )
        return self._applied()

    def _applied(self) -> Applied:
        place = [] if self._module is None else [self._module.activate(*self._place)]
        # no any() of a generator: an interrupt that strikes while one is given up is told as "ignored"
        autocast = [on for on, _ in self._modes.autocast if on]
        weights = [_kept_weights()] if autocast else []
        inference = Inference(on=self._modes.inference)
        return Applied(self._modes, self._types, [self._host.apply(), inference, *weights, *place])


class Applied:
    """The block in which a thread has the modes of another; it may be left more than once."""

    __slots__ = ("_before", "_blocks", "_modes", "_types")

    def __init__(
        self, modes: Modes, types: tuple[str, ...], blocks: Sequence[AbstractContextManager[Any]]
    ) -> None:
        """`blocks` are entered around it, and left in the reverse order."""
        self._modes = modes
        self._types = types
        self._blocks = blocks
        self._before: Modes | None = None

    def __enter__(self) -> None:
        # a fresh thread takes over the process's number of OpenMP threads only when it asks for it
        torch.get_num_threads()
        self._before = read_modes(self._types)
        for block in self._blocks:
            block.__enter__()
        write_modes(self._modes, self._types)

    def __exit__(self, *exc_info: object) -> None:
        before = self._before
        if before is not None:
            self._leave(len(self._blocks))
            write_modes(before, self._types)
            self._before = None

    def _leave(self, count: int) -> None:
        """Leave the first `count` blocks, the last of them first, whatever one of them raises."""
        if count:
            try:
                self._blocks[count - 1].__exit__(None, None, None)
            finally:
                self._leave(count - 1)


def _kept_weights() -> OneStep:
    """Else leaving an autocast block inside would empty the caller's cache of cast weights."""
    return OneStep(torch.autocast_increment_nesting, torch.autocast_decrement_nesting)


def mode_depth() -> tuple[int, int, int, bool]:
    """Lengths of the stacks that cannot be parked at a yield: function modes, dispatch modes, transforms; and
    whether the thread is inside of a tensor subclass's own dispatch."""
    transform = peek_interpreter_stack()
    return (
        torch._C._len_torch_function_stack(),
        torch._C._len_torch_dispatch_stack(),
        0 if transform is None else transform.level(),
        torch._C._dispatch_tls_is_dispatch_key_excluded(torch._C.DispatchKey.Python),
    )
