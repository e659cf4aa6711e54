"""The backend of a device with streams, up to what a framework alone can do.

Invariant: a step is ordered by streams and events alone. A result comes from the memory of the stream that is
current when it is asked for (the caller's). Nothing here marks memory as used by another stream (torch's
`record_stream`): who runs the step keeps every array until an event after its last use has been waited for.

To make a backend of another framework, subclass `DeviceBackend`:

1. write the framework's `Driver` and `DeviceReadings`, and give both to `__init__`;
2. set `name`, and write `thread_state` and the methods on arrays that `microbatch.extend.protocols.Backend`
   asks for: `owns`, `empty`, `copy`, `concatenate`, `take`, `scatter`, `differentiable` and `unsupported`;
3. write the methods of those abilities in `microbatch.extend.abilities` that the framework has. For graphs,
   `one_capture` of `capture` gives the streams, and `capture_refused` there is the method of that name;
4. run `microbatch.testing.BackendSuite` on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from microbatch.extend.lanes import LanePool, Pair
from microbatch.extend.protocols import StreamPurpose, ThreadState
from microbatch.extend.records import MemoryReading
from microbatch_backends.device.capture import URGENT, capture_of
from microbatch_backends.device.driver import Driver
from microbatch_backends.device.readings import DeviceReadings
from microbatch_backends.device.streams import DeviceEvent, DeviceStream
from microbatch_backends.failures.classify import classify
from microbatch_backends.ranks import RanksOfProcess

__all__ = ["DeviceBackend"]


class DeviceBackend(RanksOfProcess, ABC):
    """Streams, events, memory and failures of the calling thread's device."""

    asynchronous: bool = True
    parallel: bool = False

    def __init__(self, driver: Driver, readings: DeviceReadings[Any]) -> None:
        self._driver = driver
        self._readings = readings
        self._streams: dict[tuple[int, str], DeviceStream] = {}
        self._lanes = LanePool(self._lane)

    classify = staticmethod(classify)

    @abstractmethod
    def thread_state(self) -> ThreadState:
        """The context variables, modes, device and stream of the calling thread."""

    def stream(self, purpose: StreamPurpose) -> DeviceStream:
        """The stream for `purpose` on the current device; inside a capture, one of the capture's own."""
        if inside := capture_of(self._driver):
            return inside.of(purpose, _priority(purpose))
        key = self._driver.index(), purpose
        stream = self._streams.get(key)
        if stream is None:  # of two threads that ask first, the later one gets the other's stream
            made = DeviceStream(self._driver, self._driver.new_stream(_priority(purpose)), *key)
            stream = self._streams.setdefault(key, made)
        return stream

    def lanes(self, count: int) -> AbstractContextManager[Sequence[Pair]]:
        """Pairs of streams for the ubatches of one step; inside a capture, those of the capture."""
        if inside := capture_of(self._driver):
            return nullcontext(inside.pairs(count))
        return self._lanes.lend(count, self._driver.index())

    def current_stream(self) -> DeviceStream:
        """The stream the calling thread launches on."""
        driver = self._driver
        return DeviceStream(driver, driver.current_stream(), driver.index(), "compute")

    def event(self) -> DeviceEvent:
        """A new event without timing."""
        return DeviceEvent(self._driver)

    def memory(self) -> MemoryReading:
        """Memory of the current device; at most 10 ms old."""
        return self._readings.read()

    def device_name(self) -> str:
        """What the vendor calls the current device."""
        return self._driver.name(self._driver.index())

    def may_probe(self) -> bool:
        """Whether running out of memory raises and harms nothing: on devices with memory of their own."""
        return not self._driver.integrated(self._driver.index())

    def reclaim(self) -> None:
        """Wait for the streams of all purposes and the current one, and empty the cache."""
        for stream in [*list(self._streams.values()), self.current_stream()]:
            stream.synchronize()
        self._driver.empty_cache()

    def parallel_limits(self, workers: int) -> AbstractContextManager[None]:
        """Nothing: the device computes."""
        return nullcontext()

    worker_limits = parallel_limits

    def _lane(self, purpose: StreamPurpose) -> DeviceStream:
        """A stream for one lane of a step, which nobody else has."""
        raw = self._draw(_priority(purpose), ())
        return DeviceStream(self._driver, raw, self._driver.index(), purpose)

    def _draw(self, priority: int, taken: Sequence[Any]) -> Any:
        """A raw stream of the current device that nobody uses, nor any capture that has `taken`; to be
        overridden where the framework hands out the same streams again."""
        return self._driver.new_stream(priority)


def _priority(purpose: StreamPurpose) -> int:
    return 0 if purpose == "compute" else URGENT
