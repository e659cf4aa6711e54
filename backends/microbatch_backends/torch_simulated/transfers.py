"""Copies between the host and the simulated device.

Invariant: from pinned memory a copy reads when it runs, from pageable memory when it is launched, since the
driver stages it then. Into host memory it writes when it runs. The host waits for the current stream unless
the copy is `non_blocking`; from pageable memory it waits too, but for its own copy alone, which is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch

from microbatch_backends.torch_simulated.outlines import outlines_of
from microbatch_backends.torch_simulated.pinned import is_pinned
from microbatch_backends.torch_simulated.place import Place
from microbatch_backends.torch_simulated.plain import lasting, plain
from microbatch_backends.torch_simulated.simulated import TorchStreams
from microbatch_backends.torch_simulated.tensor import DeviceTensor


class Queueing(Protocol):
    """What a copy needs of the device; `operations.TorchOperations` is it."""

    device: TorchStreams
    """Where work is queued."""

    def launch(
        self, work: Callable[[], object], reads: Sequence[Place], writes: Sequence[Place], label: str
    ) -> None:
        """Put `work` on the current stream."""
        ...

    def new(self, shape: Sequence[int], strides: Sequence[int], dtype: torch.dtype) -> DeviceTensor:
        """A tensor of poison."""
        ...


def copy(operations: Queueing, destination: Any, source: Any, non_blocking: bool) -> Any:
    """`destination.copy_(source)`; at least one of the two is on the device."""
    outlines_of(torch.ops.aten.copy_.default, (destination, source), {})  # refuses shapes that do not fit
    ours = [tensor.place for tensor in (source, destination) if isinstance(tensor, DeviceTensor)]
    here, there = isinstance(source, DeviceTensor), isinstance(destination, DeviceTensor)
    data, target = _source(source), destination.place.raw if there else destination

    def work() -> None:
        with plain():
            target.copy_(data)

    operations.launch(work, ours[:1] if here else (), ours[-1:] if there else (), "copy_")
    if not (here and there) and not non_blocking:
        operations.device.current().synchronize()
    return destination


def to_device(operations: Queueing, host: torch.Tensor, non_blocking: bool) -> DeviceTensor:
    """A copy of a host tensor on the device, which autograd sees."""
    if host.requires_grad and torch.is_grad_enabled():
        return _Upload.apply(host, operations, non_blocking)  # type: ignore[no-any-return, no-untyped-call]
    strides = _dense_strides(host)
    new = operations.new(host.shape, strides, host.dtype)
    copy(operations, new, host, non_blocking)
    return new


def to_host(operations: Queueing, tensor: Any, non_blocking: bool) -> torch.Tensor:
    """A copy on the host, which autograd sees; of poison until it is there, if the host does not wait."""
    if tensor.requires_grad and torch.is_grad_enabled():
        return _Download.apply(tensor, operations, non_blocking)  # type: ignore[no-any-return, no-untyped-call]
    with nullcontext() if torch.is_inference_mode_enabled() else lasting():
        host = torch.empty_strided(tensor.shape, _dense_strides(tensor.place.raw), dtype=tensor.dtype)
    copy(operations, host, tensor, non_blocking)
    return host


class _Upload(torch.autograd.Function):
    """Host to device, and gradients back."""

    @staticmethod
    def forward(ctx: Any, host: Any, operations: Any, non_blocking: bool) -> Any:
        """The copy."""
        ctx.operations = operations
        return to_device(operations, host.detach(), non_blocking)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient, on the host."""
        (gradient,) = gradients
        return gradient.cpu(), None, None


class _Download(torch.autograd.Function):
    """Device to host, and gradients back."""

    @staticmethod
    def forward(ctx: Any, tensor: Any, operations: Any, non_blocking: bool) -> Any:
        """The copy."""
        ctx.operations = operations
        return to_host(operations, tensor.detach(), non_blocking)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient, on the device."""
        (gradient,) = gradients
        return to_device(ctx.operations, gradient, False), None, None


def _source(source: Any) -> torch.Tensor:
    if isinstance(source, DeviceTensor):
        return source.place.raw
    if is_pinned(source):
        return source.detach()  # type: ignore[no-any-return]
    with lasting():
        return source.detach().clone()  # type: ignore[no-any-return]


def _dense_strides(tensor: torch.Tensor) -> tuple[int, ...]:
    """Strides of a copy: those of the original where it has no gaps, else contiguous ones."""
    with plain():
        return torch.empty_like(torch.empty_strided(tensor.shape, tensor.stride(), device="meta")).stride()
