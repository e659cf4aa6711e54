"""The seam to one of torch's device modules (`torch.cuda`, `torch.xpu`, and for tests `torch.cpu` or a fake).

Invariant: everything a device backend asks of torch about streams, memory and devices goes through here, so
the same backend runs on any module with these functions, and tests put a recording one in its place. A
function that a version of torch or a device module lacks is answered with None, never with an AttributeError
in a step.

Rejected: `torch.accelerator` for all of this. Its memory functions came with 2.9 and its graphs later, and
the machine with the device may have an older version.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import Any

import torch

from microbatch_backends.device.driver import TimingDriver


class DeviceModule(TimingDriver):
    """One device module; `index` numbers are devices of its type."""

    def __init__(self, kind: str, module: Any = None) -> None:
        self.kind = kind
        self._module = torch.get_device_module(kind) if module is None else module

    def new_stream(self, priority: int) -> Any:
        return self._module.Stream(priority=priority)

    def new_event(self) -> Any:
        return self._module.Event()

    def new_timed_event(self) -> Any:
        return self._module.Event(enable_timing=True)

    def seconds_between(self, first: Any, last: Any) -> float:
        return float(first.elapsed_time(last)) / 1e3

    def finished(self, event: Any) -> bool:
        return bool(event.query())

    def current_stream(self) -> Any:
        return self._module.current_stream()

    def activate(self, stream: Any, index: int | None = None) -> AbstractContextManager[Any]:
        """Make `stream` and its device current in the calling thread; put both back on exit, as values.

        torch has a current stream for each device and thread: that of the device entered is put back too.
        torch's streams know their device, so `index` is not needed.
        """
        context: AbstractContextManager[Any] = self._module.stream(stream)
        return context

    def index(self) -> int:
        return int(self._module.current_device())

    def free_and_total(self, index: int) -> tuple[int, int]:
        """Bytes the driver has free on the whole device, all processes, and its size."""
        free, total = self._module.mem_get_info(index)
        return int(free), int(total)

    def statistics(self, index: int) -> dict[str, int]:
        """The caching allocator's counters; empty before its first use, and with another allocator."""
        if self._call("get_allocator_backend") not in (None, "native"):
            return {}
        return dict(self._module.memory_stats(index))

    def fraction(self, index: int) -> float:
        """Share of the device this process was limited to; 1 without a limit."""
        set_to = self._call("get_per_process_memory_fraction", index)
        return 1.0 if set_to is None else float(set_to)

    def integrated(self, index: int) -> bool:
        properties = self._call("get_device_properties", index)
        return bool(getattr(properties, "is_integrated", False))

    def name(self, index: int) -> str:
        return str(getattr(self._call("get_device_properties", index), "name", ""))

    def random_state(self) -> Any:
        """The state of the current device's random numbers; None where it cannot be read."""
        return self._call("get_rng_state")

    def set_random_state(self, state: Any) -> None:
        """Put back what `random_state` answered."""
        if state is not None:
            self._module.set_rng_state(state)

    def empty_cache(self) -> None:
        self._module.empty_cache()

    def new_graph(self) -> Any:
        """An empty graph."""
        return self._module.CUDAGraph()

    def graph_pool(self) -> Any:
        """A handle of a memory pool that graphs may share."""
        return self._module.graph_pool_handle()

    def end_allocation(self, index: int, pool: Any) -> None:
        """Stop allocating for `pool` and let go of it; does nothing where no such allocation is underway."""
        with suppress(AttributeError, RuntimeError):  # private functions of torch, which a version may lack
            torch._C._cuda_endAllocateToPool(index, pool)
            torch._C._cuda_releasePool(index, pool)

    def scratch(self) -> torch.Tensor:
        """A tensor of one number on the current device."""
        return torch.empty(1, device=torch.device(self.kind, self.index()))

    def prepare_capture(self) -> None:
        """Create the BLAS handle of this thread and stream, which may not be created inside a capture."""
        self._call("current_blas_handle")

    def named_range(self, name: str) -> AbstractContextManager[Any]:
        """A range with a name in the device's profiler, else in torch's."""
        nvtx = getattr(self._module, "nvtx", None)
        context: AbstractContextManager[Any] = (
            torch.profiler.record_function(name) if nvtx is None else nvtx.range(name)
        )
        return context

    def _call(self, name: str, *args: Any) -> Any:
        """What the function says; None where this version or device has none."""
        function = getattr(self._module, name, None)
        return None if function is None else function(*args)
