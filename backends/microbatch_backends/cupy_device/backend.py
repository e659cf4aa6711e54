"""CuPy arrays on NVIDIA devices: streams, events, pools, pinned copies and graphs.

Invariant: CuPy gives a freed block at once back to the stream it was allocated on. So who launches work on
another stream keeps the arrays until an event after that work has been waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from microbatch.extend.abilities import Graph
from microbatch.extend.protocols import ThreadState
from microbatch_backends.cupy_device import graphs
from microbatch_backends.cupy_device.arrays import CupyArrays
from microbatch_backends.cupy_device.memory import CupyMemory
from microbatch_backends.cupy_device.namespace import CupyNamespace, load_cupy
from microbatch_backends.cupy_device.transfer import CupyTransfer
from microbatch_backends.device.backend import DeviceBackend
from microbatch_backends.device.capture import capture_of, capture_refused
from microbatch_backends.device.streams import TimedDeviceEvent
from microbatch_backends.host.state import HostState


class CupyBackend(CupyArrays, CupyTransfer, DeviceBackend):
    """The `cupy` backend. `namespace` stands in for the `cupy` module in tests."""

    name: str = "cupy"
    captures_threads: bool = False

    def __init__(self, namespace: Any = None) -> None:
        self._namespace = CupyNamespace(load_cupy() if namespace is None else namespace)
        super().__init__(self._namespace, CupyMemory(self._namespace))

    capture_refused = staticmethod(capture_refused)

    def thread_state(self) -> ThreadState:
        """What this thread has now."""
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

    def timed_event(self) -> TimedDeviceEvent | None:
        """A new event with a time; None inside a capture, which has no times."""
        return None if capture_of(self._namespace) else TimedDeviceEvent(self._namespace)

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[Graph, Any]:
        """Run `work`, then capture it; the graph has a memory pool of its own, whatever `pool` is."""
        return graphs.capture(self._namespace, work, self._draw)

    def graph_pool(self) -> object | None:
        """None: a CuPy graph cannot share its memory."""
        return None


class CupyState:
    """A snapshot of the calling thread: context variables, device, stream and allocator.

    Inside `apply` the thread launches where the caller did, and allocates from the same pool; after it the
    thread is as before. CuPy's random generators and its errors (`cupyx.errstate`) are not carried.
    """

    __slots__ = ("_allocator", "_host", "_index", "_namespace", "_stream")

    def __init__(self, namespace: CupyNamespace) -> None:
        self._namespace = namespace
        self._host = HostState()
        self._index = namespace.index()
        self._stream = namespace.current_stream()
        self._allocator = namespace.cuda.get_allocator()

    @contextmanager
    def apply(self) -> Iterator[None]:
        """Set it in the thread that enters, undo on exit."""
        same = self._namespace.cuda.get_allocator() == self._allocator
        pool = nullcontext() if same else self._namespace.cuda.using_allocator(self._allocator)
        with self._host.apply(), self._namespace.activate(self._stream, self._index), pool:
            yield
