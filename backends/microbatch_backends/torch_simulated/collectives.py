"""Collectives of `torch.distributed` on tensors of the simulated device, on a communication stream.

Invariant: as with NCCL, a collective is work of one stream of its own, in the order in which a rank calls
them; it begins behind the current stream, and the current stream goes on behind it: at once, or with
`async_op` where somebody waits for the work. The host never waits for it. What carries the values is the
group's own backend for the host (gloo), when the work runs.

Ranks are processes, and each runs its queue when its host waits. So all ranks must come to such a point, as
they do at `item()`, `cpu()` or `synchronize()`; a collective of host tensors waits for the queue before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

from microbatch.testing.simulated.streams import SimulatedEvent
from microbatch_backends.torch_simulated.arguments import leaves_in, mapped
from microbatch_backends.torch_simulated.operations import TorchOperations, raw_of
from microbatch_backends.torch_simulated.plain import plain
from microbatch_backends.torch_simulated.tensor import DeviceTensor

STREAM = "collectives"
NAMES = (
    "all_gather", "all_gather_into_tensor", "all_reduce", "all_to_all", "all_to_all_single", "broadcast",
    "reduce", "reduce_scatter", "reduce_scatter_tensor", "barrier",
)  # fmt: skip


class CollectiveWork:
    """What a collective with `async_op` gives; keeps its tensors until somebody has waited."""

    def __init__(self, operations: TorchOperations, end: SimulatedEvent, kept: Any) -> None:
        self._device, self._end = operations.device, end
        self._kept = kept

    def wait(self, timeout: Any = None) -> bool:
        """Let the current stream go on behind the collective; the host does not wait."""
        self._device.current().wait(self._end)
        self._kept = None
        return True

    def is_completed(self) -> bool:
        """Whether it is done."""
        return self._end.done()

    def synchronize(self) -> None:
        """As `wait`."""
        self.wait()


def replacements(operations: TorchOperations) -> Mapping[str, Callable[..., Any]]:
    """Name of a function of `torch.distributed` -> what stands there; none in a build without them."""
    if not torch.distributed.is_available():
        return {}
    return {
        name: _replacement(operations, getattr(torch.distributed, name))
        for name in NAMES
        if hasattr(torch.distributed, name)
    }


def _replacement(operations: TorchOperations, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def collective(*args: Any, **kwargs: Any) -> Any:
        tensors = leaves_in([args, kwargs])
        if not any(isinstance(tensor, DeviceTensor) for tensor in tensors):
            operations.device.finish_all()
            return original(*args, **kwargs)
        return _launched(operations, original, args, kwargs)

    return collective


def _launched(operations: TorchOperations, original: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    device, caller = operations.device, operations.device.current()
    later = bool(kwargs.pop("async_op", False))
    raw_args, raw_kwargs = mapped(raw_of, args), mapped(raw_of, kwargs)

    def work() -> None:
        with plain(inference=False):
            original(*raw_args, **raw_kwargs)

    stream, begin, end = device.named(STREAM), device.event(), device.event()
    places = [tensor.place for tensor in leaves_in([args, kwargs]) if isinstance(tensor, DeviceTensor)]
    begin.record(caller)
    stream.wait(begin)
    with stream.activate():
        operations.launch(work, (), places, original.__name__)
    end.record(stream)
    if later:
        return CollectiveWork(operations, end, (args, kwargs))
    caller.wait(end)
    return None
