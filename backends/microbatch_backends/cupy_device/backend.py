"""CuPy arrays on NVIDIA devices: streams, events, pools, pinned copies and graphs.

Invariant: CuPy gives a freed block at once back to the stream it was allocated on. So who launches work on
another stream keeps the arrays until an event after that work has been waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from microbatch.extend.abilities import Graph
from microbatch.extend.protocols import ThreadState
from microbatch_backends.cupy_device import graphs
from microbatch_backends.cupy_device.arrays import CupyArrays
from microbatch_backends.cupy_device.memory import CupyMemory
from microbatch_backends.cupy_device.namespace import CupyNamespace, load_cupy
from microbatch_backends.cupy_device.state import CupyState
from microbatch_backends.cupy_device.transfer import CupyTransfer
from microbatch_backends.device.backend import DeviceBackend
from microbatch_backends.device.capture import capture_refused


class CupyBackend(CupyArrays, CupyTransfer, DeviceBackend):
    """The `cupy` backend. `namespace` stands in for the `cupy` module in tests."""

    name: str = "cupy"
    captures_threads: bool = False

    def __init__(self, namespace: Any = None) -> None:
        self._namespace = CupyNamespace(load_cupy() if namespace is None else namespace)
        super().__init__(self._namespace, CupyMemory(self._namespace))

    capture_refused = staticmethod(capture_refused)

    def thread_state(self) -> ThreadState:
        """Context variables, and the device, stream and allocator of this thread."""
        return CupyState(self._namespace)

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A named range for NVIDIA's profilers."""
        nvtx = self._namespace.cuda.nvtx
        nvtx.RangePush(name)
        try:
            yield
        finally:
            nvtx.RangePop()

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[Graph, Any]:
        """Run `work`, then capture it; the graph has a memory pool of its own, whatever `pool` is."""
        return graphs.capture(self._namespace, work, self._draw)

    def graph_pool(self) -> object | None:
        """None: a CuPy graph cannot share its memory."""
        return None
