"""What stands where `cupy.cuda` stood: streams, events, pools, pinned memory, and what the runtime tells.

Invariant: the names and meanings are CuPy's. Only device 0 is there.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any, Self

from microbatch.testing.simulated.class_stand_in import class_of
from microbatch_backends.cupy_simulated.memory import MemoryPool, OutOfMemoryError
from microbatch_backends.cupy_simulated.refusals import CUDARuntimeError, as_cupy
from microbatch_backends.cupy_simulated.simulated import CupyStreams
from microbatch_backends.cupy_simulated.streams import Event, Graph, Stream

NAME = b"simulated device of microbatch"
THREAD_LOCAL = 1
"""cudaStreamCaptureModeThreadLocal."""


class Device:
    """The only device."""

    def __init__(self, device: Any = 0) -> None:
        if int(device) != 0:
            raise CUDARuntimeError(101, "cudaErrorInvalidDevice: invalid device ordinal")
        self.id = 0

    def use(self) -> None:
        """There is only one."""

    def __int__(self) -> int:
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """There is only one."""


class Cuda:
    """The functions of `cupy.cuda` for a simulated device."""

    Device = Device
    Graph = Graph

    def __init__(self, streams: CupyStreams) -> None:
        self._streams = streams
        self.Stream = class_of(Stream, self._new_stream)
        self.Stream.null = Stream(streams, streams.named("default"))  # type: ignore[attr-defined]
        self.Event = class_of(Event, partial(Event, streams))
        self.MemoryPool = class_of(MemoryPool, partial(MemoryPool, streams.memory))
        self.memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
        self.runtime = Runtime(streams)
        self.nvtx = SimpleNamespace(RangePush=lambda name, color=-1: None, RangePop=lambda: None)
        self.using_allocator = streams.using
        self.alloc_pinned_memory = streams.pinned.allocate

    def is_available(self) -> bool:
        """True."""
        return True

    def get_current_stream(self, device_id: int = -1) -> Stream:
        """The stream that the calling thread launches on."""
        return Stream(self._streams, self._streams.current())

    def get_elapsed_time(self, start_event: Event, end_event: Event) -> float:
        """1 ms, always: nothing here takes the time that a device takes."""
        return 1.0

    def get_allocator(self) -> Any:
        """Where the calling thread has its memory from."""
        return self._streams.allocator

    def _new_stream(
        self, null: bool = False, non_blocking: bool = False, ptds: bool = False, priority: int | None = None
    ) -> Stream:
        """A stream of its own; the default one never waits for it, blocking or not."""
        if null or ptds:
            return Stream(self._streams, self._streams.named("default"))
        return Stream(self._streams, self._streams.new_stream(priority))


class Runtime:
    """What `cupy.cuda.runtime` tells of the device."""

    CUDARuntimeError = CUDARuntimeError
    streamCaptureModeThreadLocal = THREAD_LOCAL

    def __init__(self, streams: CupyStreams) -> None:
        self._streams = streams

    def getDevice(self) -> int:
        """0."""
        return 0

    def getDeviceCount(self) -> int:
        """1."""
        return 1

    def getDeviceProperties(self, device: int) -> dict[str, Any]:
        """Its name and memory."""
        return {"name": NAME, "totalGlobalMem": self.memGetInfo()[1]}

    def deviceGetAttribute(self, attribute: int, device: int) -> int:
        """0: it is no integrated device, and whatever else is asked for."""
        return 0

    def deviceSynchronize(self) -> None:
        """Let the host wait for all work of all streams."""
        with as_cupy():
            self._streams.finish_all()

    def memGetInfo(self) -> tuple[int, int]:
        """Bytes that no pool has, and all."""
        return self._streams.memory.left(), self._streams.memory.model.capacity or 1 << 40

    def pointerGetAttributes(self, address: int) -> Any:
        """Whether the memory there is pinned (1) or not known to the driver (0)."""
        return SimpleNamespace(type=int(self._streams.pinned.holds(address)))
