"""What torch backends share on any device, and the backend for tensors on the CPU.

Invariant: `torch-cpu` computes where it is called, as NumPy does, on the base it shares with `cpu`.
"""

from __future__ import annotations

from functools import partial

import torch

from microbatch_backends.host.backend import HostBackend
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.torch_device import arrays, host_arrays
from microbatch_backends.torch_device.modes import autocast_types
from microbatch_backends.torch_device.state import TorchState, mode_depth


class TorchArrays:
    """Tensors and modes: the same on every device."""

    empty = staticmethod(arrays.empty)
    copy = staticmethod(arrays.copy)
    concatenate = staticmethod(arrays.concatenate)
    take = staticmethod(arrays.take)
    scatter = staticmethod(arrays.scatter)
    differentiable = staticmethod(arrays.differentiable)
    unsupported = staticmethod(arrays.unsupported)
    mode_depth = staticmethod(mode_depth)
    from_host = staticmethod(host_arrays.from_host)
    inference = staticmethod(host_arrays.inference)


class TorchCpuBackend(TorchArrays, HostBackend):
    """The `torch-cpu` backend; `memory` is there for tests."""

    name: str = "torch-cpu"

    def __init__(self, memory: HostMemory | None = None) -> None:
        super().__init__(partial(TorchState, autocast_types("cpu")), memory)

    def owns(self, array: object) -> bool:
        """Whether `array` is a tensor on the CPU."""
        return isinstance(array, torch.Tensor) and array.is_cpu
