"""What simulated devices of frameworks have in common: how one is found, and what is asked of it.

Invariant: this module imports no framework. What runs a framework's code is in the package of the backends,
and is loaded when a device is first asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from microbatch.errors import BackendUnavailableError
from microbatch.testing.adversarial.executor import LazyExecutor
from microbatch.testing.adversarial.order import Order, SeededOrder
from microbatch.testing.recording.checker import Race, check
from microbatch.testing.simulated.device import SimulatedDevice
from microbatch.testing.simulated.memory import MemoryModel

__all__ = ["CAPACITY", "FrameworkDevice", "block_of", "replaced_modules"]

CAPACITY = 8 << 30
"""Bytes of the device where nobody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkDevice:
    """A simulated device for a framework, inside its block."""

    device: SimulatedDevice
    """Streams and memory."""
    queues: LazyExecutor
    """Work that was launched and has not run."""

    @property
    def pending(self) -> int:
        """Pieces of work that were launched and have not run."""
        return self.queues.pending

    @property
    def noted(self) -> int:
        """How much was recorded so far: launches, events, waits."""
        trace = self.device.trace
        return 0 if trace is None else len(trace.entries)

    def races(self) -> tuple[Race, ...]:
        """Conflicting accesses so far that nothing orders; empty where the device does not record."""
        trace = self.device.trace
        return () if trace is None else check(tuple(trace.entries)).races


def block_of(
    where: str,
    remedy: str,
    order: Order | int,
    *,
    capacity: int,
    recorded: bool,
    hidden: Sequence[str] | None,
) -> AbstractContextManager[Any]:
    """The block that `where`, a module of the backends, makes; `remedy` says what to do without it."""
    try:
        module = import_module(where)
    except ImportError as error:
        raise BackendUnavailableError(f"{error}; {remedy}") from error
    block: AbstractContextManager[Any] = module.simulated(
        SeededOrder(order) if isinstance(order, int) else order,
        model=MemoryModel(capacity=capacity),
        recorded=recorded,
        hidden=module.NOT_THE_PROGRAM if hidden is None else hidden,
    )
    return block


@contextmanager
def replaced_modules(modules: Mapping[str, ModuleType | None]) -> Iterator[None]:
    """The block in which `modules` are what is imported under their names, and nothing below these; None is
    an ImportError."""
    taken = {name for name in sys.modules if any(f"{name}.".startswith(f"{ours}.") for ours in modules)}
    before = {name: sys.modules.pop(name) for name in sorted(taken)}
    sys.modules.update(modules)  # type: ignore[arg-type]  # None is how Python is told
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)
        sys.modules.update(before)
