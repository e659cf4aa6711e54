"""A simulated device: launches work, and hands out memory.

Invariant: everything that touches memory goes through `launch`, so nothing runs or is recorded beside it. A
capture takes what is launched on its streams, from any thread; the thread that began it may not wait on the
host meanwhile. Captures begin and end in `graphs.py`.
"""

from __future__ import annotations

import itertools
from contextvars import ContextVar

from microbatch.testing.recording.trace import Access, Trace
from microbatch.testing.simulated.capture import Launch
from microbatch.testing.simulated.executor import Executor
from microbatch.testing.simulated.memory import POISON, Block, DeviceMemory
from microbatch.testing.simulated.streams import SimulatedStream, StreamDevice

LANES: ContextVar[tuple[SimulatedDevice, str] | None] = ContextVar("simulated_capture_lanes", default=None)
"""Device and name of the capture that the calling code is part of; workers get it with the context."""


class SimulatedDevice(StreamDevice):
    """Streams and memory of one simulated device."""

    def __init__(
        self, name: str, executor: Executor, memory: DeviceMemory, trace: Trace | None, *, lazy: bool
    ) -> None:
        super().__init__(name, executor, trace)
        self.memory = memory
        """Where its blocks come from."""
        self.lazy = lazy
        """Whether work runs after its launch, so that shapes of results must be known without it."""
        self.captures = itertools.count()
        """Numbers of captures."""
        self._lanes = itertools.count()

    def stream(self, purpose: str) -> SimulatedStream:
        """The stream for `purpose`, the same each time; inside a capture it is the capture's own."""
        inside = self.inside()
        return self.named(purpose if inside is None else f"{purpose} of {inside}")

    def lane(self, purpose: str) -> SimulatedStream:
        """A new stream for `purpose`."""
        return self.named(f"{purpose} lane {next(self._lanes)}")

    def inside(self) -> str | None:
        """Name of the capture that the calling code is part of."""
        lanes = LANES.get()
        return lanes[1] if lanes is not None and lanes[0] is self else None

    @property
    def in_capture(self) -> bool:
        """Whether what the calling thread launches now is captured."""
        return self.current().capture is not None

    def finish_all(self) -> None:
        """Wait on the host for all work of all streams."""
        self.refuse_in_capture("synchronize the device")
        self.note("sync_device")
        for mark in [self.executor.mark(stream.number) for stream in list(self.streams.values())]:
            self.executor.finish(mark)

    def allocate(self, size: int) -> Block:
        """A block of poison; a reused one is poisoned in the order of the current stream."""
        stream = self.current()
        block = self.memory.allocate(size, self.owner_of(stream))
        if block.reused:
            data = block.data  # not the block: pending work must not keep it from being freed
            access = Access(block.number, 0, block.size, write=True)
            label = "reuse of a freed block"
            self.launch(Launch(work=lambda: data.fill(POISON), accesses=(access,), label=label, kind="alloc"))
        return block

    def owner_of(self, stream: SimulatedStream) -> object:
        """Whose cache a block for `stream` comes from: the stream's, or that of the pool of its capture."""
        return stream.purpose if stream.capture is None else (stream.capture.pool, stream.purpose)

    def launch(self, launch: Launch) -> None:
        """Launch on the current stream, or into its capture."""
        stream = self.current()
        if stream.capture is None:
            self.enqueue(stream, launch)
        else:
            stream.capture.launch(stream.number, launch)

    def enqueue(self, stream: SimulatedStream, launch: Launch) -> None:
        """Launch on `stream` now, whether it captures or not."""
        self.note(launch.kind, stream.purpose, accesses=launch.accesses, label=launch.label)
        self.executor.launch(stream.number, launch.work)
