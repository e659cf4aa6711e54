"""Tensors on a device with streams: NVIDIA's by default, any of torch's device modules by name.

Invariant: the same code serves all device modules. What one of them lacks is answered by `DeviceModule`, or
fails when it is used: capturing on Intel's (`torch.xpu`) fails, and the step then runs without a graph and
says why.

A copy between host and device is asynchronous only when its host side is pinned. From pageable memory the
driver makes the host wait anyway. A copy *to* pageable memory would return before the bytes are there, and a
reader would see old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from microbatch.errors import StreamsExhaustedError
from microbatch.extend.abilities import Graph
from microbatch.extend.protocols import StreamPurpose, ThreadState
from microbatch_backends.device.backend import DeviceBackend
from microbatch_backends.device.capture import capture_of, capture_refused
from microbatch_backends.device.streams import DeviceStream, TimedDeviceEvent
from microbatch_backends.torch_device import arrays, graphs, host_arrays
from microbatch_backends.torch_device.backend import TorchArrays
from microbatch_backends.torch_device.device_module import DeviceModule
from microbatch_backends.torch_device.memory import DeviceMemory
from microbatch_backends.torch_device.modes import autocast_types, read_modes
from microbatch_backends.torch_device.state import TorchState
from microbatch_backends.torch_device.trials import Trial

PURPOSES: tuple[StreamPurpose, ...] = ("compute", "communication", "copy_in", "copy_out")
DRAWS = 64
"""Streams to draw before giving up: torch hands out 32 streams of a priority in turn, so each comes twice."""


class TorchCudaBackend(TorchArrays, DeviceBackend):
    """The `torch-cuda` backend. `module` names another device module, or stands in for one in tests.

    All four purposes have a stream of their own from the first capture on. A step may use 27 lanes or fewer
    beside them, since torch has 32 streams of a priority.
    """

    captures_threads: bool = True

    def __init__(self, module: DeviceModule | None = None) -> None:
        self._module = module or DeviceModule("cuda")
        super().__init__(self._module, DeviceMemory(self._module))
        self.name: str = f"torch-{self._module.kind}"
        self._types = autocast_types(self._module.kind)
        self._lent: list[DeviceStream] = []

    capture_refused = staticmethod(capture_refused)

    def may_probe(self) -> bool:
        """Whether running out of memory raises and harms nothing: on CUDA and ROCm, with own memory."""
        # an XPU device may be lost, a Mac swaps, and an integrated GPU takes the host's memory
        return self._module.kind == "cuda" and super().may_probe()

    def owns(self, array: object) -> bool:
        """Whether `array` is a tensor on a device of this type."""
        return isinstance(array, torch.Tensor) and array.device.type == self._module.kind

    def thread_state(self) -> ThreadState:
        """Modes, context variables, and the device and stream of this thread."""
        return TorchState(self._types, self._module)

    def trial(self) -> AbstractContextManager[Callable[[], bool]]:
        """Calls inside record no gradients, and random numbers of host and device are put back."""
        return Trial(self._module)

    def staging(self, shape: Sequence[int], like: Any) -> Any:
        """A pinned host buffer with the dtype of `like`; pinning costs milliseconds, so use it many times."""
        return torch.empty(tuple(shape), dtype=like.dtype, device="cpu", pin_memory=True)

    def to_device(self, destination: Any, source: Any) -> None:
        """Copy host to device on the current stream; the host goes on when `source` is pinned."""
        arrays.copy(destination, source, non_blocking=source.is_pinned())

    def to_host(self, destination: Any, source: Any) -> None:
        """Copy device to host on the current stream; the host goes on when `destination` is pinned."""
        arrays.copy(destination, source, non_blocking=destination.is_pinned())

    def empty_device(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised tensor on the current device with the dtype of `like`."""
        device = torch.device(self._module.kind, self._module.index())
        return torch.empty(tuple(shape), dtype=like.dtype, device=device)

    def from_host(self, array: Any) -> Any:
        """A tensor on the current device with the values of a NumPy array."""
        return host_arrays.from_host(array).to(torch.device(self._module.kind, self._module.index()))

    def range(self, name: str) -> AbstractContextManager[None]:
        """A named range for NVIDIA's profilers; for torch's own where the device module has none."""
        return self._module.named_range(name)

    def timed_event(self) -> TimedDeviceEvent | None:
        """A new event with a time; None inside a capture, which has no times."""
        return None if capture_of(self._module) else TimedDeviceEvent(self._module)

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[Graph, Any]:
        """Run `work`, then capture it; returns the graph and its outputs, which each replay fills."""
        # The eager streams are made first. One that were made later could be a stream that the capture has
        # already drawn, and the capture would then take eager work.
        for purpose in PURPOSES:
            self.stream(purpose)
        return graphs.capture(self._module, work, pool, self._draw)

    def graph_pool(self) -> object | None:
        """A pool for graphs that are replayed one after the other, never at the same time."""
        return graphs.GraphPool(self._module)

    def graph_state(self) -> Hashable:
        """What decides which work a call launches: modes of this thread, and settings of the process."""
        deterministic = torch.are_deterministic_algorithms_enabled()
        settings = torch.get_float32_matmul_precision(), deterministic, torch.get_default_dtype()
        return read_modes(self._types), settings

    def _lane(self, purpose: StreamPurpose) -> DeviceStream:
        made = super()._lane(purpose)
        self._lent.append(made)
        return made

    def _draw(self, priority: int, taken: Sequence[Any]) -> Any:
        """A raw stream in no eager use, no lane and not in `taken`; StreamsExhaustedError without one."""
        ours = [stream.raw for stream in (*list(self._streams.values()), *list(self._lent))]
        used = [*taken, self._module.current_stream(), *ours]
        for _ in range(DRAWS):
            made = self._module.new_stream(priority)
            if not any(made == other for other in used):
                return made
        raise StreamsExhaustedError(
            f"{DRAWS} streams were drawn and all are in use, as torch has 32 a priority;"
            " take turns between fewer ubatches, or capture fewer graphs"
        )


class TorchXpuBackend(TorchCudaBackend):
    """The `torch-xpu` backend: tensors on Intel GPUs, whose memory is never tried out, only predicted."""

    def __init__(self) -> None:
        super().__init__(DeviceModule("xpu"))
