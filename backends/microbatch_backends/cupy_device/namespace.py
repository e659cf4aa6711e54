"""The seam to CuPy: all that the backend asks of it about devices, streams, pools and pinned memory.

Invariant: CuPy is reached only through the namespace object that is given here, so a test can put another one
in its place. A contract test compares the names and signatures used with those of the installed package. CuPy
can be imported without a driver, so CuPy is asked whether there is a device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from microbatch.errors import BackendUnavailableError
from microbatch_backends.device.driver import TimingDriver


def load_cupy() -> Any:
    """The `cupy` module; BackendUnavailableError where it finds no device."""
    cupy = import_module("cupy")
    if not cupy.cuda.is_available():
        raise BackendUnavailableError(
            "CuPy is installed but finds no usable CUDA device; "
            "check that the driver is as new as the wheel asks for, and CUDA_VISIBLE_DEVICES"
        )
    return cupy


INTEGRATED = 18
"""cudaDevAttrIntegrated."""


class CupyNamespace(TimingDriver):
    """`cupy`, or what stands in for it."""

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy
        self.cuda = cupy.cuda
        self.runtime = cupy.cuda.runtime
        self.ndarray: Any = cupy.ndarray

    def index(self) -> int:
        return int(self.runtime.getDevice())

    def use_device(self, index: int) -> None:
        """Make device `index` the calling thread's."""
        self.cuda.Device(index).use()

    def new_stream(self, priority: int) -> Any:
        return self.cuda.Stream(non_blocking=True, priority=priority)

    def new_event(self) -> Any:
        return self.cuda.Event(disable_timing=True)

    def new_timed_event(self) -> Any:
        return self.cuda.Event()

    def seconds_between(self, first: Any, last: Any) -> float:
        return float(self.cuda.get_elapsed_time(first, last)) / 1e3

    def finished(self, event: Any) -> bool:
        return bool(event.done)

    def current_stream(self) -> Any:
        return self.cuda.get_current_stream()

    @contextmanager
    def activate(self, stream: Any, index: int) -> Iterator[None]:
        """Make device and stream the calling thread's, and put both back as absolute values on exit.

        CuPy's own `with stream` keeps a stack for each thread. Greenlets that take turns in one thread would
        mix it up.
        """
        own = self.index()
        if own != index:
            self.use_device(index)
        before = self.current_stream()
        stream.use()
        try:
            yield
        finally:
            if self.index() != index:
                self.use_device(index)
            before.use()
            if own != index:
                self.use_device(own)

    def name(self, index: int) -> str:
        name = self.runtime.getDeviceProperties(index)["name"]
        return name.decode(errors="replace") if isinstance(name, bytes) else str(name)

    def integrated(self, index: int) -> bool:
        return bool(self.runtime.deviceGetAttribute(INTEGRATED, index))

    def pool(self) -> Any | None:
        """The memory pool behind the calling thread's allocator; None where that keeps no counters."""
        owner = getattr(self.cuda.get_allocator(), "__self__", None)
        return owner if hasattr(owner, "used_bytes") else None

    def empty_cache(self) -> None:
        if pool := self.pool():
            pool.free_all_blocks()
