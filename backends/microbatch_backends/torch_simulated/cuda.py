"""What stands where `torch.cuda` stood: streams, events, memory, random numbers and graphs of one device.

Invariant: the names and meanings are torch's. Only the device `cuda:0` is there. Nothing waits but what waits
on a real device; what a real device does not do (a tenth of a second of sleep) takes no time here.
"""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

from microbatch.testing.simulated.capture import Launch
from microbatch.testing.simulated.class_stand_in import class_of
from microbatch_backends.torch_simulated.cuda_graphs import CUDAGraph, graph
from microbatch_backends.torch_simulated.cuda_streams import Event, StreamBlock, as_cuda
from microbatch_backends.torch_simulated.cuda_streams import Stream as _Stream
from microbatch_backends.torch_simulated.simulated import TorchStreams

NAME = "simulated device of microbatch"


class Cuda:
    """The functions of `torch.cuda` for a simulated device."""

    OutOfMemoryError = torch.OutOfMemoryError

    def __init__(self, streams: TorchStreams) -> None:
        self._streams = streams
        self._fraction = 1.0
        self._capacity = streams.memory.model.capacity or 1 << 40
        self._pools = itertools.count(1)
        self.CUDAGraph = class_of(CUDAGraph, partial(CUDAGraph, streams, itertools.count()))
        self.graph = class_of(graph, partial(graph, self))
        self.Event = class_of(Event, partial(Event, streams))
        self.Stream = class_of(_Stream, self._new_stream)
        self.nvtx = SimpleNamespace(range=lambda name: nullcontext(), range_push=len, range_pop=lambda: 0)

    # devices

    def is_available(self) -> bool:
        """True."""
        return True

    is_initialized = is_available

    def init(self) -> None:
        """Nothing is to be set up."""

    _lazy_init = init

    def device_count(self) -> int:
        """1."""
        return 1

    def current_device(self) -> int:
        """0."""
        return 0

    def set_device(self, device: Any) -> None:
        """There is only one."""

    def device(self, device: Any) -> AbstractContextManager[None]:
        """There is only one."""
        return nullcontext()

    def get_device_name(self, device: Any = None) -> str:
        """What it is."""
        return NAME

    def get_device_capability(self, device: Any = None) -> tuple[int, int]:
        """That of an H100."""
        return 9, 0

    def get_device_properties(self, device: Any = None) -> Any:
        """Name, memory, and that it is no integrated device."""
        return SimpleNamespace(name=NAME, total_memory=self._capacity, is_integrated=False, major=9, minor=0)

    # streams

    def _new_stream(self, device: Any = None, priority: int = 0, **options: Any) -> _Stream:
        """The next of the 32 streams of `priority`."""
        return _Stream(self._streams, self._streams.next_stream(priority))

    def current_stream(self, device: Any = None) -> _Stream:
        """The stream that the calling thread launches on."""
        return _Stream(self._streams, self._streams.current())

    def default_stream(self, device: Any = None) -> _Stream:
        """The stream that is current where nobody chose one."""
        return _Stream(self._streams, self._streams.named("default"))

    def set_stream(self, stream: _Stream) -> None:
        """Launch what the calling thread does from now on on `stream`."""
        self._streams.make_current(stream.simulated)

    def stream(self, stream: _Stream | None) -> StreamBlock:
        """The block in which `stream` is current."""
        return StreamBlock(stream)

    def synchronize(self, device: Any = None) -> None:
        """Let the host wait for all work of all streams."""
        with as_cuda():
            self._streams.finish_all()

    def is_current_stream_capturing(self) -> bool:
        """Whether what the calling thread launches is captured."""
        return self._streams.in_capture

    def graph_pool_handle(self) -> tuple[int, int]:
        """A memory pool for graphs."""
        return 0, next(self._pools)

    def current_blas_handle(self) -> int:
        """A number; there is no BLAS of a device here."""
        return 1

    def _sleep(self, cycles: int) -> None:
        """Work that takes no time: what waits for it may still be late, as drawn."""
        self._streams.launch(Launch(work=lambda: None, accesses=(), label="_sleep"))

    # memory

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        """Bytes that are neither used nor cached, and all."""
        used, cached = self._streams.memory.counted()
        return max(0, self._capacity - used - cached), self._capacity

    def memory_stats(self, device: Any = None) -> dict[str, int]:
        """The counters that backends read."""
        memory = self._streams.memory
        used, cached = memory.counted()
        return {
            "active_bytes.all.current": used,
            "active_bytes.all.peak": max(memory.peak, used),
            "allocated_bytes.all.current": used,
            "allocated_bytes.all.peak": max(memory.peak, used),
            "reserved_bytes.all.current": used + cached,
            "num_alloc_retries": memory.retries,
        }

    def memory_allocated(self, device: Any = None) -> int:
        """Bytes in use."""
        return self._streams.memory.counted()[0]

    def memory_reserved(self, device: Any = None) -> int:
        """Bytes in use or cached."""
        return sum(self._streams.memory.counted())

    def max_memory_allocated(self, device: Any = None) -> int:
        """The most bytes in use since the last reset."""
        return max(self._streams.memory.peak, self.memory_allocated())

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        """Forget the peak."""
        self._streams.memory.peak = self.memory_allocated()

    def empty_cache(self) -> None:
        """Give back what nobody uses."""
        self._streams.memory.empty_cache()

    def set_per_process_memory_fraction(self, fraction: float, device: Any = None) -> None:
        """Let this process have that share of the device."""
        self._fraction = fraction
        self._streams.memory.limit(int(self._capacity * fraction))

    def get_per_process_memory_fraction(self, device: Any = None) -> float:
        """The share that this process may have."""
        return self._fraction

    def get_allocator_backend(self) -> str:
        """`native`."""
        return "native"

    # random numbers

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        """The state of the device's generator."""
        return self._streams.generator.get_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        """Put back what `get_rng_state` answered."""
        self._streams.generator.set_state(state)

    def manual_seed(self, seed: int) -> None:
        """Begin anew with `seed`."""
        self._streams.generator.manual_seed(int(seed))

    manual_seed_all = manual_seed

    def initial_seed(self) -> int:
        """The seed that it began with."""
        return self._streams.generator.initial_seed()
