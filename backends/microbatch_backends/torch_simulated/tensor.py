"""A tensor of the simulated device: looks like one of `cuda:0`, and each operation on it is queued.

Invariant: nobody reads its values but queued work, and the host after it has waited. To Python it is on
`cuda:0`; to torch's C++ side it is a host tensor. So every kernel that torch picks for it is one that the
host has, and autograd runs its backward pass in the calling thread.

Rejected: torch's Python backend for PrivateUse1. Its name cannot be `cuda`, so no code runs unchanged. It can
be set up once in a process and never taken away, and its streams are not wired (pytorch 196302). Rejected
too: a wrapper that tells C++ of `cuda` (`dispatch_device`). A build without CUDA has no device guard for
autograd, and refuses `.to("cuda")`.
"""

from __future__ import annotations

import copy
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch.utils.dlpack import DLDeviceType

from microbatch_backends.torch_simulated.interface import Operations
from microbatch_backends.torch_simulated.place import Place


class DeviceTensor(torch.Tensor):
    """A tensor whose `place` is on the simulated device; views share the block of their base."""

    place: Place
    """Where its values are."""
    owner: Operations
    """What runs its operations."""

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Queue one operation."""
        return _owner_in(args, kwargs or {}).dispatch(func, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call what Python called; results that C++ made on the host come to the device."""
        return _owner_in(args, kwargs or {}).function(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """`cuda:0`."""
        return torch.device("cuda", 0)

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        """True."""
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        """False."""
        return False

    def get_device(self) -> int:
        """Number of its device."""
        return 0

    @property
    def data(self) -> torch.Tensor:
        """The same memory, of which autograd knows nothing."""
        return self.detach()

    @data.setter
    def data(self, other: torch.Tensor) -> None:
        self.owner.move(self, other)

    def cpu(self, memory_format: Any = torch.preserve_format) -> torch.Tensor:
        """A copy on the host; waits for the current stream."""
        return self.owner.to_host(self, non_blocking=False)

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """TypeError unless `force`, as on a real device."""
        if not force:
            raise TypeError(
                "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to"
                " host memory first."
            )
        return self.detach().cpu().numpy()

    def __array__(self, dtype: Any = None) -> np.ndarray[Any, Any]:
        return self.numpy()

    def __dlpack_device__(self) -> tuple[IntEnum, int]:
        return DLDeviceType.kDLCUDA, 0

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None
    ) -> Any:
        if dl_device is None or int(dl_device[0]) != DLDeviceType.kDLCPU:
            raise BufferError("the simulated device has no memory that another library could use")
        return self.detach().cpu().__dlpack__(max_version=max_version)

    def tolist(self) -> Any:
        """The values as Python's numbers; waits for the current stream."""
        return self.detach().cpu().tolist()

    def pin_memory(self, device: Any = None) -> torch.Tensor:
        """RuntimeError: only host memory is pinned."""
        raise RuntimeError(
            f"cannot pin 'torch.cuda.{type(self).__name__}' only dense CPU tensors can be pinned"
        )

    def is_pinned(self, device: Any = None) -> bool:
        """False."""
        return False

    def record_stream(self, s: Any) -> None:
        """Memory is given to others only when what the stream `s` has by then is done."""
        self.owner.record_stream(self, s)

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        if id(self) not in memo:
            memo[id(self)] = made = self.detach().clone().requires_grad_(self.requires_grad)
            for name, value in vars(self).items():
                if name not in ("place", "owner"):
                    setattr(made, name, copy.deepcopy(value, memo))
        return memo[id(self)]  # type: ignore[no-any-return]

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a tensor of the simulated device cannot be pickled; pickle its .cpu()")

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"{self.detach().cpu()!r}"[:-1] + ", device='cuda:0')"


def made(place: Place, owner: Operations) -> DeviceTensor:
    """The tensor at `place`."""
    with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunctionSubclass():
        tensor = torch.Tensor._make_subclass(DeviceTensor, place.raw)
    tensor.place, tensor.owner = place, owner
    return tensor


def _owner_in(args: Any, kwargs: dict[str, Any]) -> Operations:
    """The owner of the first device tensor among the arguments."""
    waiting = [*kwargs.values(), *reversed(args)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, DeviceTensor):
            return value.owner
        if isinstance(value, (list, tuple)):
            waiting.extend(reversed(value))
    raise TypeError("torch called for a tensor of the simulated device, and none is among the arguments")
