"""Tensors on a device with streams: NVIDIA's by default, any of torch's device modules by name.

Invariant: a device step is ordered by streams and events alone. Results are allocated on the stream that is current
when they are asked for (the caller's), and nothing here uses `record_stream`: who runs the step keeps every tensor
until an event after its last use has been waited for.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from microbatch.extend.protocols import Graph, StreamPurpose, ThreadState
from microbatch.extend.records import MemoryReading
from microbatch_backends.torch_device import graphs, transfer
from microbatch_backends.torch_device.backend import TorchArrays
from microbatch_backends.torch_device.device_module import DeviceModule
from microbatch_backends.torch_device.memory import DeviceMemory
from microbatch_backends.torch_device.modes import autocast_types, read_modes
from microbatch_backends.torch_device.state import TorchState
from microbatch_backends.torch_device.streams import DeviceEvent, DevicePlaces, DeviceStream

__all__ = ["TorchCudaBackend"]

URGENT = -1
"""Priority of communication and copies: they are short, and what waits for them is not."""


class TorchCudaBackend(TorchArrays):
    """The `torch-cuda` backend. `module` names another device module, or stands in for one in tests."""

    asynchronous: bool = True
    parallel: bool = False

    def __init__(self, module: DeviceModule | None = None) -> None:
        self._module = module or DeviceModule("cuda")
        self.name: str = f"torch-{self._module.kind}"
        self._memory = DeviceMemory(self._module)
        self._types = autocast_types(self._module.kind)
        self._places = DevicePlaces(self._module)
        self._streams: dict[tuple[int, str, int], DeviceStream] = {}
        self._integrated: dict[int, bool] = {}
        self._lock = threading.Lock()

    def stream(self, purpose: StreamPurpose) -> DeviceStream:
        """The stream for `purpose` on the current device; all but `compute` are urgent. Four at most in use."""
        return self.priority_stream(purpose, 0 if purpose == "compute" else URGENT)

    def priority_stream(self, purpose: StreamPurpose, priority: int) -> DeviceStream:
        """The stream for `purpose` and `priority`; lower numbers are more urgent."""
        index = self._module.index()
        key = (index, purpose, priority)
        found = self._streams.get(key)
        if found is None:
            with self._lock:
                made = DeviceStream(self._module, self._module.new_stream(index, priority), purpose)
                found = self._streams.setdefault(key, made)
        return found

    def current_stream(self) -> DeviceStream:
        """The stream the calling thread launches on."""
        return DeviceStream(self._module, self._module.current_stream(), "compute")

    def event(self) -> DeviceEvent:
        """A new event without timing."""
        return DeviceEvent(self._module)

    def memory(self) -> MemoryReading:
        """Memory of the current device; at most 10 ms old."""
        return self._memory.read()

    def device_name(self) -> str:
        """What the vendor calls the current device."""
        return self._module.name(self._module.index())

    def may_probe(self) -> bool:
        """Whether running out of memory raises and harms nothing: on CUDA and ROCm devices with memory of their own.

        An XPU device may be lost, a Mac swaps, and an integrated GPU takes the host's memory.
        """
        index = self._module.index()
        if index not in self._integrated:
            self._integrated[index] = self._module.integrated(index)
        return self._module.kind == "cuda" and not self._integrated[index]

    def owns(self, array: object) -> bool:
        """Whether `array` is a tensor on a device of this type."""
        return isinstance(array, torch.Tensor) and array.device.type == self._module.kind

    def reclaim(self) -> None:
        """Wait for our streams and the current one, collect garbage, give cached blocks back to the driver."""
        for stream in [*self._streams.values(), self.current_stream()]:
            stream.synchronize()
        gc.collect()
        self._module.empty_cache()

    def thread_state(self) -> ThreadState:
        """Modes, context variables, and the device and stream of this thread."""
        return TorchState(self._types, self._places)

    def parallel_limits(self, workers: int) -> AbstractContextManager[None]:
        """Nothing: the device computes."""
        return nullcontext()

    def worker_limits(self, workers: int) -> AbstractContextManager[None]:
        """Nothing: the device computes."""
        return nullcontext()

    def staging(self, shape: Sequence[int], like: Any) -> Any:
        """A pinned host buffer with the dtype of `like`."""
        return transfer.staging(shape, like)

    def to_device(self, destination: Any, source: Any) -> None:
        """Copy host to device on the current stream; asynchronous when `source` is pinned."""
        transfer.to_device(destination, source)

    def to_host(self, destination: Any, source: Any) -> None:
        """Copy device to host on the current stream; asynchronous when `destination` is pinned."""
        transfer.to_host(destination, source)

    def empty_device(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised tensor on the current device with the dtype of `like`."""
        return transfer.empty_device(shape, like, torch.device(self._module.kind, self._module.index()))

    def range(self, name: str) -> AbstractContextManager[None]:
        """A named range for NVIDIA's profilers; for torch's own where the device module has none."""
        return self._module.named_range(name)

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[Graph, Any]:
        """Capture `work`; returns the graph and its static outputs, which the first replay fills."""
        return graphs.capture(self._module, work, pool)

    def graph_pool(self) -> object | None:
        """A pool for graphs that are replayed one after the other, never at the same time."""
        pool: object = self._module.graph_pool()
        return pool

    def graph_state(self) -> Hashable:
        """Modes of this thread that decide what a call launches: grad, inference, autocast, user modes."""
        return read_modes(self._types)

    def capture_refused(self, error: BaseException) -> bool:
        """Whether `error` says that the work cannot be captured."""
        return graphs.capture_refused(error)
