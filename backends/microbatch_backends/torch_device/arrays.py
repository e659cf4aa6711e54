"""Reading and writing rows of tensors, and of host arrays too, since a function of tensors may return NumPy.

Invariant: a write never converts values, never enters the autograd graph, and works on inference tensors
outside inference mode too. Results that autograd records are joined by `concatenate` instead of written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch._C._functorch import peek_interpreter_stack

from microbatch.extend.inside import inside
from microbatch_backends.host import arrays as host
from microbatch_backends.torch_device.modes import Inference, Unrecorded

LARGE = 16 << 20
"""Bytes from which a result gets its memory from NumPy, which asks the kernel for huge pages where torch does
not.

Milliseconds to fill a fresh result in torch's and in NumPy's memory (medians, one thread, Linux 6.18): 8 MiB
0.7 and 0.6, 16 MiB 1.7 and 1.2, 32 MiB 20 and 5.7, 64 MiB 33 and 21, 256 MiB 158 and 90. Such a tensor cannot
be resized in place.
"""

_NAMES = "bool uint8 int8 int16 int32 int64 float16 float32 float64 complex64 complex128"
_NUMPY_DTYPES = {getattr(torch, name): np.dtype(name) for name in _NAMES.split()}
"""NumPy's dtype for each of torch's that has the same name."""
_NUMPY_DTYPES[torch.bfloat16] = np.dtype("int16")  # which NumPy lacks: the same bytes are made as int16


def empty(shape: Sequence[int], like: Any) -> Any:
    """An uninitialised tensor with class, dtype, device and memory format (channels last) of `like`."""
    if not isinstance(like, torch.Tensor):
        return host.empty(shape, like)
    size = tuple(shape)
    if type(like) is not torch.Tensor and not isinstance(like, torch.nn.Parameter):
        return like.new_empty(size)
    if like.is_cpu and _is_large(size, like) and like.is_contiguous():
        return _from_numpy(size, like.dtype)
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=_memory_format(size, like))


def copy(destination: Any, source: Any, *, non_blocking: bool = False) -> None:
    """Write `source` into `destination` (same shape and dtype) on the current stream, outside autograd."""
    if not isinstance(destination, torch.Tensor):
        host.copy(destination, source)
        return
    if destination.dtype is not source.dtype:
        raise host.converting(destination, source)
    if source.requires_grad or destination.requires_grad or destination.is_inference():
        inside(_writing(destination), lambda _: destination.copy_(source, non_blocking=non_blocking))
    else:  # setting a mode costs 1.3 us
        destination.copy_(source, non_blocking=non_blocking)


def concatenate(parts: Sequence[Any], axis: int) -> Any:
    """Join `parts` along `axis`; autograd sees it."""
    if not isinstance(parts[0], torch.Tensor):
        return host.concatenate(parts, axis)
    return torch.cat(tuple(parts), dim=axis)


def take(array: Any, indices: Sequence[int], axis: int) -> Any:
    """Rows at `indices` along `axis`, as a new tensor; autograd sees it."""
    if not isinstance(array, torch.Tensor):
        return host.take(array, indices, axis)
    return torch.index_select(array, axis, _positions(indices, array.device))


def scatter(destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
    """Write rows of `source` to `destination` at `indices` along `axis`, outside autograd."""
    if not isinstance(destination, torch.Tensor):
        host.scatter(destination, indices, source, axis)
        return
    positions = _positions(indices, destination.device)
    inside(_writing(destination), lambda _: destination.index_copy_(axis, positions, source))


def differentiable(arrays: Sequence[Any]) -> bool:
    """Whether autograd, forward-mode AD or a function transform would record work on any of `arrays`."""
    if torch.is_grad_enabled() and any(getattr(array, "requires_grad", False) for array in arrays):
        return True
    return torch.autograd.forward_ad._current_level >= 0 or transformed()


def transformed() -> bool:
    """Whether a function transform (vmap, grad, jvp) is running in this thread."""
    return peek_interpreter_stack() is not None


def unsupported(array: Any) -> str | None:
    """Why rows of `array` cannot be cut (nested, sparse, quantised, distributed), or None."""
    if not isinstance(array, torch.Tensor):
        return None
    if array.is_nested:
        return "a nested tensor has rows of unequal length; pass it padded, with the lengths beside it"
    if array.layout is not torch.strided:
        return f"a tensor of layout {array.layout} has no rows to slice as views; pass its .to_dense()"
    if array.is_quantized:
        return "a quantised tensor cannot be joined without its scales; pass its .dequantize() or .int_repr()"
    if type(array).__name__ == "DTensor":
        return "a DTensor is cut by its mesh already; pass its .to_local()"
    return None


def _writing(destination: torch.Tensor) -> AbstractContextManager[None]:
    """The mode in which `destination` may be written without autograd recording it."""
    if destination.is_inference() and not torch.is_inference_mode_enabled():
        return Inference(on=True)
    return Unrecorded() if torch.is_grad_enabled() else nullcontext()


def _is_large(size: tuple[int, ...], like: torch.Tensor) -> bool:
    """Whether memory from NumPy is better: large, of a dtype it has, and no dispatch mode is to see it."""
    return (
        math.prod(size) * like.element_size() >= LARGE
        and like.dtype in _NUMPY_DTYPES
        and not torch._C._len_torch_dispatch_stack()
    )


def _from_numpy(size: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    memory = torch.from_numpy(np.empty(size, _NUMPY_DTYPES[dtype]))
    return memory if memory.dtype is dtype else memory.view(dtype)


def _memory_format(size: tuple[int, ...], like: torch.Tensor) -> torch.memory_format:
    if len(size) != 4 or like.dim() != 4 or like.is_contiguous():
        return torch.contiguous_format
    last = torch.channels_last
    return last if like.is_contiguous(memory_format=last) else torch.contiguous_format


def _positions(indices: Sequence[int], device: torch.device) -> torch.Tensor:
    """`indices` on `device`; copied first, because torch warns of a tensor made from a read-only array."""
    return torch.from_numpy(np.array(indices, dtype=np.int64)).to(device)
