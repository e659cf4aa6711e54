"""The block in which torch code finds a simulated device where it asks for CUDA.

Invariant: one such block at a time in a process, as torch's functions belong to the process; after it they
are torch's own again. Inside, every thread sees the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch.utils._device import _device_constructors

from microbatch.errors import ArgumentValueError
from microbatch.loading.plugins import default_plugins
from microbatch.testing.adversarial.executor import LazyExecutor
from microbatch.testing.adversarial.order import Order
from microbatch.testing.framework_device import FrameworkDevice
from microbatch.testing.recording.trace import HIDDEN, Trace
from microbatch.testing.simulated.memory import MemoryModel
from microbatch_backends.torch_device.cuda import TorchCudaBackend
from microbatch_backends.torch_simulated import collectives, factories, methods
from microbatch_backends.torch_simulated.cuda import Cuda
from microbatch_backends.torch_simulated.memory import TorchMemory
from microbatch_backends.torch_simulated.operations import TorchOperations
from microbatch_backends.torch_simulated.replaced import replaced
from microbatch_backends.torch_simulated.simulated import TorchStreams
from microbatch_backends.torch_simulated.tensor import DeviceTensor

NOT_THE_PROGRAM = (
    *HIDDEN, "microbatch", "microbatch_backends", "microbatch_integrations", "torch", "threading",
    "concurrent", "greenlet",
)  # fmt: skip
"""Packages and modules in which no place of a race is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchDevice(FrameworkDevice):
    """A simulated device for torch."""

    cuda: Cuda
    """What stands where `torch.cuda` stood."""
    operations: TorchOperations
    """What runs the operations."""

    def owns(self, tensor: object) -> bool:
        """Whether `tensor` is on this device."""
        return isinstance(tensor, DeviceTensor) and tensor.owner is self.operations


@contextmanager
def simulated(
    order: Order, *, model: MemoryModel, recorded: bool, hidden: Sequence[str]
) -> Iterator[TorchDevice]:
    """The block; see `microbatch.testing.torch_device`."""
    if isinstance(getattr(torch.cuda.current_stream, "__self__", None), Cuda):
        raise ArgumentValueError("a simulated torch device is there already; leave its block before")
    # torch loads its compiler when a `meta` kernel first needs it (1 s), and that notes torch's own functions
    import_module("torch._dynamo")
    _device_constructors()  # torch keeps this set of its functions for good; here they are still its own
    trace = Trace(hidden=hidden) if recorded else None
    queues = LazyExecutor(order, lambda number: streams.purposes[number])
    streams = TorchStreams(queues, TorchMemory(model), trace)
    operations, cuda = TorchOperations(streams), Cuda(streams)
    with ExitStack() as stack:
        stack.enter_context(replaced(torch.cuda, _functions_of(cuda)))
        others = {"_has_compatible_shallow_copy_type": _compatible, "Generator": factories.Generator}
        made = {name: factories.replacement(operations, name) for name in factories.ALL}
        stack.enter_context(replaced(torch, made | others))
        stack.enter_context(replaced(torch.Tensor, methods.replacements(operations)))
        stack.enter_context(replaced(torch.distributed, collectives.replacements(operations)))
        stack.enter_context(default_plugins().lent(TorchCudaBackend()))
        yield TorchDevice(cuda=cuda, operations=operations, device=streams, queues=queues)


def _functions_of(cuda: Cuda) -> dict[str, Any]:
    """Name -> what stands in `torch.cuda`."""
    return {name: getattr(cuda, name) for name in dir(cuda) if not name.startswith("__") and name not in _OWN}


_SHALLOW = vars(torch)["_has_compatible_shallow_copy_type"]


def _compatible(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether `one.data = other` may be; modules ask when they move, and make new parameters if not."""
    return isinstance(one, DeviceTensor) == isinstance(other, DeviceTensor) and bool(_SHALLOW(one, other))


_OWN = ("_streams", "_fraction", "_capacity", "_pools", "_new_stream")
