"""Methods of every tensor that go to the simulated device, or to pinned memory.

Invariant: without a device of ours the method is torch's own with the very same arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

from microbatch_backends.torch_simulated.operations import TorchOperations
from microbatch_backends.torch_simulated.pinned import PINNED
from microbatch_backends.torch_simulated.place import is_device
from microbatch_backends.torch_simulated.tensor import DeviceTensor


def replacements(operations: TorchOperations) -> Mapping[str, Callable[..., Any]]:
    """Name of a method of `torch.Tensor` -> what stands there."""
    original_to, original_pinned = torch.Tensor.to, torch.Tensor.is_pinned

    @functools.wraps(original_to)
    def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        here = isinstance(self, DeviceTensor)
        device, dtype, non_blocking, options = _wanted(args, dict(kwargs))
        there = here if device is None else is_device(device)
        if not here and not there:
            return original_to(self, *args, **kwargs)
        moved = self
        if here != there:
            moved = (operations.to_device if there else operations.to_host)(self, non_blocking=non_blocking)
        return original_to(moved, self.dtype if dtype is None else dtype, **options)

    def cuda(
        self: torch.Tensor, device: Any = None, non_blocking: bool = False, **options: Any
    ) -> torch.Tensor:
        if isinstance(self, DeviceTensor):
            return self
        return operations.to_device(self, non_blocking=non_blocking)

    def pin_memory(self: torch.Tensor, device: Any = None) -> torch.Tensor:
        return self if PINNED.holds(self) else PINNED.empty(self.shape, self.dtype).copy_(self)

    def is_pinned(self: torch.Tensor, device: Any = None) -> bool:
        return PINNED.holds(self) if self.device.type == "cpu" else original_pinned(self)

    return {"to": to, "cuda": cuda, "pin_memory": pin_memory, "is_pinned": is_pinned}


def _wanted(args: Any, kwargs: dict[str, Any]) -> tuple[Any, torch.dtype | None, bool, dict[str, Any]]:
    """Device, dtype, whether the host goes on, and further options that `Tensor.to` was asked for."""
    options: dict[str, Any] = {name: kwargs.pop(name) for name in ("copy", "memory_format") if name in kwargs}
    other = args[0] if args else kwargs.pop("other", None)
    if isinstance(other, torch.Tensor):
        device, dtype, rest = other.device, other.dtype, args[1:]
    elif isinstance(other, torch.dtype):
        device, dtype, rest = kwargs.pop("device", None), other, args[1:]
    else:
        device = kwargs.pop("device", None) if other is None else other
        dtype, rest = (args[1], args[2:]) if len(args) > 1 else (kwargs.pop("dtype", None), ())
    non_blocking = bool(rest[0]) if rest else bool(kwargs.pop("non_blocking", False))
    return device, dtype, non_blocking, options
