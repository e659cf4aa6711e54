"""A device for CuPy code on a machine without one, and without CuPy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from microbatch.testing.adversarial.order import Order
from microbatch.testing.framework_device import CAPACITY, block_of

if TYPE_CHECKING:
    from microbatch.testing.recording.checker import Race

WHERE = "microbatch_backends.cupy_simulated.device"
REMEDY = "cupy_device() needs microbatch's own backends; install microbatch whole"


class CupyDevice(Protocol):
    """A simulated device for CuPy, inside its block."""

    @property
    def cupy(self) -> Any:
        """What stands where the module `cupy` stood."""
        ...

    @property
    def pending(self) -> int:
        """Pieces of work that were launched and have not run."""
        ...

    @property
    def noted(self) -> int:
        """How much was recorded so far: launches, events, waits."""
        ...

    def owns(self, array: object) -> bool:
        """Whether `array` is on this device."""
        ...

    def races(self) -> tuple[Race, ...]:
        """Conflicting accesses so far that nothing orders; empty where the device does not record."""
        ...


def cupy_device(
    order: Order | int = 0,
    *,
    capacity: int = CAPACITY,
    recorded: bool = True,
    hidden: Sequence[str] | None = None,
) -> AbstractContextManager[CupyDevice]:
    """The block in which code that imports `cupy` finds a simulated device on NumPy, installed or not.

    Each operation is queued on the current stream and runs late, in the order that `order` says (a number is
    a seed); what was not written yet is NaN, or -1. `capacity` is in bytes. With `recorded`, `races()` names
    accesses that nothing orders, at places outside of the packages `hidden`.
    """
    return block_of(WHERE, REMEDY, order, capacity=capacity, recorded=recorded, hidden=hidden)
