"""The block in which code that imports `cupy` finds a simulated device.

Invariant: one such block at a time in a process, as the modules belong to the process; after it `cupy` is
what it was, installed or not. Inside, every thread sees the device. Code that holds the real module from
before goes on using that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from microbatch.errors import ArgumentValueError
from microbatch.loading.plugins import default_plugins
from microbatch.testing.adversarial.executor import LazyExecutor
from microbatch.testing.adversarial.order import Order
from microbatch.testing.framework_device import FrameworkDevice, replaced_modules
from microbatch.testing.recording.trace import HIDDEN, Trace
from microbatch.testing.simulated.memory import MemoryModel
from microbatch_backends.cupy_device.backend import CupyBackend
from microbatch_backends.cupy_simulated.array import ndarray
from microbatch_backends.cupy_simulated.functions import Cupy
from microbatch_backends.cupy_simulated.memory import CupyMemory
from microbatch_backends.cupy_simulated.simulated import CupyStreams

NOT_THE_PROGRAM = (
    *HIDDEN, "microbatch", "microbatch_backends", "microbatch_integrations", "threading", "concurrent",
    "greenlet",
)  # fmt: skip
"""Packages and modules in which no place of a race is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CupyDevice(FrameworkDevice):
    """A simulated device for CuPy."""

    cupy: Any
    """What stands where the module `cupy` stood."""

    def owns(self, array: object) -> bool:
        """Whether `array` is on this device."""
        return isinstance(array, ndarray) and array.owner is self.device


@contextmanager
def simulated(
    order: Order, *, model: MemoryModel, recorded: bool, hidden: Sequence[str]
) -> Iterator[CupyDevice]:
    """The block; see `microbatch.testing.cupy_device`."""
    if isinstance(sys.modules.get("cupy"), Cupy):
        raise ArgumentValueError("a simulated CuPy device is there already; leave its block before")
    trace = Trace(hidden=hidden) if recorded else None
    queues = LazyExecutor(order, lambda number: streams.purposes[number])
    streams = CupyStreams(queues, CupyMemory(model, lambda: streams.in_capture), trace)
    cupy = Cupy(streams)
    # what real modules of CuPy load late would find parts of the stand-in
    hidden_modules = {"cupyx": None, "cupy_backends": None}
    with replaced_modules({"cupy": cupy, **hidden_modules}), default_plugins().lent(CupyBackend(cupy)):
        yield CupyDevice(cupy=cupy, device=streams, queues=queues)
