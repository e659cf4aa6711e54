"""torch's functions that make tensors, for `device="cuda"` and for pinned memory.

Invariant: without a device of ours, and without pinned memory, the function is torch's own with the very same
arguments. Values are made by work on the current stream, as on a real device; only what comes from Python's
numbers is copied, and that copy is waited for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Self

import torch
from torch._C._functorch import peek_interpreter_stack
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from microbatch_backends.torch_simulated.operations import TorchOperations
from microbatch_backends.torch_simulated.pinned import PINNED
from microbatch_backends.torch_simulated.place import is_device
from microbatch_backends.torch_simulated.plain import plain
from microbatch_backends.torch_simulated.randomness import drawn
from microbatch_backends.torch_simulated.tensor import DeviceTensor

FROM_VALUES = ("tensor", "as_tensor", "asarray")
EMPTY = ("empty", "empty_strided", "empty_permuted")
RANDOM = ("rand", "randint", "randn", "randperm", "normal")
FILLED = (
    "arange", "bartlett_window", "blackman_window", "eye", "full", "hamming_window", "hann_window",
    "kaiser_window", "linspace", "logspace", "ones", "range", "scalar_tensor", "tril_indices", "triu_indices",
    "zeros",
)  # fmt: skip
LIKE = ("empty_like", "full_like", "ones_like", "rand_like", "randint_like", "randn_like", "zeros_like")
ALL = (*FROM_VALUES, *EMPTY, *RANDOM, *FILLED, *LIKE)


class Generator(torch.Generator):
    """A generator, of the host whatever device was named: seeds come from it, and no values."""

    def __new__(cls, device: Any = "cpu") -> Self:
        return super().__new__(cls, "cpu" if is_device(device) else device)  # type: ignore[call-arg]


def replacement(operations: TorchOperations, name: str) -> Callable[..., Any]:
    """What stands where torch's function `name` stood."""
    original = getattr(torch, name)
    like = name in LIKE

    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Any:
        device = kwargs.get("device")
        ours = is_device(default_device() if device is None else device)
        if like and kwargs.get("device") is None and args and isinstance(args[0], DeviceTensor):
            ours = False  # dispatched like any operation on it
        if kwargs.get("pin_memory") and not ours:
            return _pinned(original, args, kwargs)
        if not ours:
            if like and args and isinstance(args[0], DeviceTensor) and kwargs.get("device") is not None:
                args = (torch.empty_strided(args[0].shape, args[0].stride(), dtype=args[0].dtype), *args[1:])
            return original(*args, **kwargs)
        return _on_device(operations, original, name, args, kwargs)

    return make


def default_device() -> Any:
    """The device that tensors are made on where nobody says; None where that is the host.

    torch's own function makes a tensor to find out the number of the device, and so would come here again.
    """
    if not torch._C._len_torch_function_stack() or peek_interpreter_stack() is not None:
        return None
    modes = reversed(_get_current_function_mode_stack())  # type: ignore[no-untyped-call]
    return next((mode.device for mode in modes if isinstance(mode, DeviceContext)), None)


def _on_device(
    operations: TorchOperations, original: Any, name: str, args: Any, kwargs: dict[str, Any]
) -> torch.Tensor:
    wanted = {
        key: value for key, value in kwargs.items() if key not in ("device", "pin_memory", "requires_grad")
    }
    records = bool(kwargs.get("requires_grad", False))
    if name in FROM_VALUES:
        if isinstance(args[0], DeviceTensor):
            return args[0].to(wanted.get("dtype", args[0].dtype))
        made: torch.Tensor = operations.to_device(original(*args, **wanted, device="cpu"), non_blocking=False)
        return made.requires_grad_() if records else made
    if name in LIKE:
        args = (_outline(args[0]), *args[1:])
    seed = (
        operations.device.seed(wanted.pop("generator", None))
        if name in RANDOM or name.startswith("rand")
        else None
    )
    with plain():
        outline = original(*args, **wanted, device="meta")
    new = operations.new(outline.shape, outline.stride(), outline.dtype)
    if name not in (*EMPTY, "empty_like"):
        _fill(operations, new, functools.partial(original, *args, **wanted, device="cpu"), seed, name)
    return new.requires_grad_() if records else new


def _fill(
    operations: TorchOperations,
    new: DeviceTensor,
    values: Callable[[], torch.Tensor],
    seed: int | None,
    name: str,
) -> None:
    target = new.place.raw

    def work() -> None:
        with plain(), drawn(seed):
            target.copy_(values())

    operations.launch(work, (), [new.place], name)


def _pinned(original: Any, args: Any, kwargs: dict[str, Any]) -> torch.Tensor:
    wanted = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    values = original(*args, **wanted)
    pinned = PINNED.empty(values.shape, values.dtype)
    return pinned if original.__name__ in ("empty", "empty_like") else pinned.copy_(values)


def _outline(tensor: torch.Tensor) -> torch.Tensor:
    with plain():
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
