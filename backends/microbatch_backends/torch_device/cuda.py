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

from microbatch.errors import StreamsExhaustedError
from microbatch.extend.abilities import Graph
from microbatch.extend.lanes import LanePool, Pair
from microbatch.extend.protocols import StreamPurpose, ThreadState
from microbatch.extend.records import MemoryReading
from microbatch_backends.torch_device import graphs, transfer
from microbatch_backends.torch_device.backend import TorchArrays
from microbatch_backends.torch_device.device_module import DeviceModule
from microbatch_backends.torch_device.memory import DeviceMemory
from microbatch_backends.torch_device.modes import autocast_types, read_modes, read_settings
from microbatch_backends.torch_device.state import TorchState
from microbatch_backends.torch_device.streams import DeviceEvent, DevicePlaces, DeviceStream

__all__ = ["TorchCudaBackend"]

URGENT = -1
"""Priority of communication and copies: they are short, and what waits for them is not."""
PURPOSES: tuple[StreamPurpose, ...] = ("compute", "communication", "copy_in", "copy_out")
DRAWS = 64
"""Two rounds of torch's ring of 32 streams a priority."""


class TorchCudaBackend(TorchArrays):
    """The `torch-cuda` backend. `module` names another device module, or stands in for one in tests."""

    asynchronous: bool = True
    parallel: bool = False
    captures_threads: bool = True

    def __init__(self, module: DeviceModule | None = None) -> None:
        self._module = module or DeviceModule("cuda")
        self.name: str = f"torch-{self._module.kind}"
        self._memory = DeviceMemory(self._module)
        self._types = autocast_types(self._module.kind)
        self._places = DevicePlaces(self._module)
        self._streams: dict[tuple[int, str, int], DeviceStream] = {}
        self._lanes = LanePool(self._lane)
        self._lent: list[DeviceStream] = []
        self._integrated: dict[int, bool] = {}
        self._lock = threading.Lock()

    def stream(self, purpose: StreamPurpose) -> DeviceStream:
        """The stream for `purpose` on the current device; all but `compute` are urgent. Four at most in use."""
        return self.priority_stream(purpose, 0 if purpose == "compute" else URGENT)

    def priority_stream(self, purpose: StreamPurpose, priority: int) -> DeviceStream:
        """The stream for `purpose` and `priority`; lower numbers are more urgent. In a capture, one of its own."""
        inside = self._inside()
        if inside is not None:
            return inside.of(purpose, priority)
        index = self._module.index()
        key = (index, purpose, priority)
        found = self._streams.get(key)
        if found is None:
            with self._lock:
                made = DeviceStream(self._module, self._module.new_stream(index, priority), purpose)
                found = self._streams.setdefault(key, made)
        return found

    def lanes(self, count: int) -> AbstractContextManager[Sequence[Pair]]:
        """Pairs of streams for the ubatches of one step; in a capture, its own. 28 or more in use are refused."""
        inside = self._inside()
        if inside is not None:
            return nullcontext(inside.pairs(count, URGENT))
        return self._lanes.lend(count, self._module.index())

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
        """Run `work`, then capture it; returns the graph and its static outputs, which the first replay fills."""
        for purpose in PURPOSES:
            self.stream(purpose)  # made before, so that none is drawn later that the capture has
        return graphs.capture(self._module, work, pool, self._fresh)

    def graph_pool(self) -> object | None:
        """A pool for graphs that are replayed one after the other, never at the same time."""
        return graphs.GraphPool(self._module)

    def graph_state(self) -> Hashable:
        """What decides which work a call launches: modes of this thread, and settings of the process."""
        return read_modes(self._types), read_settings()

    def capture_refused(self, error: BaseException) -> bool:
        """Whether `error` says that the work cannot be captured."""
        return graphs.capture_refused(error)

    def _inside(self) -> graphs.Lanes | None:
        """The capture that the calling code is part of."""
        lanes = graphs.LANES.get()
        return lanes if lanes is not None and lanes.module is self._module else None

    def _lane(self, purpose: StreamPurpose) -> DeviceStream:
        """A stream that is nobody else's."""
        raw = self._fresh(0 if purpose == "compute" else URGENT, [])
        made = DeviceStream(self._module, raw, purpose)
        self._lent.append(made)
        return made

    def _fresh(self, priority: int, taken: list[Any]) -> Any:
        """A stream that neither eager work nor `taken` has."""
        ours = [stream.raw for stream in (*list(self._streams.values()), *list(self._lent))]
        used = [*taken, self._module.current_stream(), *ours]
        for _ in range(DRAWS):
            made = self._module.new_stream(self._module.index(), priority)
            if not any(made == other for other in used):
                return made
        raise StreamsExhaustedError(
            f"{DRAWS} streams were drawn and all are in use, as torch has 32 a priority; take turns between fewer"
            " ubatches, or capture fewer graphs"
        )
