"""A device for torch code on a machine without one.

Invariant: this module imports no torch. What runs torch code is in the package of the backends and is loaded
by the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from microbatch.testing.adversarial.order import Order
from microbatch.testing.framework_device import CAPACITY, block_of

if TYPE_CHECKING:
    from microbatch.testing.recording.checker import Race

WHERE = "microbatch_backends.torch_simulated.device"
REMEDY = "torch_device() needs PyTorch: pip install microbatch[torch]"


class TorchDevice(Protocol):
    """A simulated device for torch, inside its block."""

    @property
    def cuda(self) -> Any:
        """What stands where `torch.cuda` stood."""
        ...

    @property
    def pending(self) -> int:
        """Pieces of work that were launched and have not run."""
        ...

    @property
    def noted(self) -> int:
        """How much was recorded so far: launches, events, waits."""
        ...

    def owns(self, tensor: object) -> bool:
        """Whether `tensor` is on this device."""
        ...

    def races(self) -> tuple[Race, ...]:
        """Conflicting accesses so far that nothing orders; empty where the device does not record."""
        ...


def torch_device(
    order: Order | int = 0,
    *,
    capacity: int = CAPACITY,
    recorded: bool = True,
    hidden: Sequence[str] | None = None,
) -> AbstractContextManager[TorchDevice]:
    """The block in which torch code that asks for `cuda` runs on a simulated device, unchanged.

    Each operation is queued on the current stream and runs late, in the order that `order` says (a number is
    a seed); what was not written yet is NaN, or -1. `capacity` is in bytes. With `recorded`, `races()` names
    accesses that nothing orders, at places outside of the packages `hidden`.
    """
    return block_of(WHERE, REMEDY, order, capacity=capacity, recorded=recorded, hidden=hidden)
