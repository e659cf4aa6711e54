"""Streams, events and graphs of the stand-in for `cupy.cuda`.

Invariant: what CuPy's do, these do, under the same names. Each new stream is one that nobody else has.
"""

from __future__ import annotations

import itertools
from typing import Any, Self

from microbatch.testing.simulated.capture import Capture, CaptureRefusedError
from microbatch.testing.simulated.framework import FrameworkEvent, FrameworkStream, ReplayedGraph
from microbatch.testing.simulated.graphs import begin_capture, end_capture
from microbatch.testing.simulated.streams import SimulatedStream
from microbatch_backends.cupy_simulated.refusals import UNJOINED, CUDARuntimeError, as_cupy
from microbatch_backends.cupy_simulated.simulated import CupyStreams


class Stream(FrameworkStream):
    """A stream of the simulated device."""

    told = staticmethod(as_cupy)
    device_id = 0

    def __init__(self, device: CupyStreams, simulated: SimulatedStream) -> None:
        super().__init__(device, simulated)
        self._before: list[SimulatedStream] = []
        self._capture: Capture | None = None

    ptr = property(lambda self: self.simulated.number, doc="Its number; 0 is the default stream.")
    done = property(lambda self: self.record().done, doc="Whether all is done.")

    def use(self) -> Self:
        """Launch what the calling thread does from now on here."""
        self._device.make_current(self.simulated)
        return self

    def record(self, event: Event | None = None) -> Event:
        """Mark the work launched so far."""
        marked = Event(self._device) if event is None else event
        marked.record(self)
        return marked

    def is_capturing(self) -> bool:
        """Whether what is launched here is captured."""
        return self.simulated.capture is not None

    def begin_capture(self, mode: int | None = None) -> None:
        """What is launched here from now on is captured."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        with as_cupy():
            self._capture = begin_capture(self._device, self.simulated, object())

    def end_capture(self) -> Graph:
        """The graph of what was captured since; RuntimeError where a stream was not joined to this one."""
        capture, self._capture = self._capture, None
        if capture is None:
            raise RuntimeError("cannot end a capture that has not begun")
        try:
            end_capture(self._device, capture)
        except CaptureRefusedError as error:
            raise CUDARuntimeError(UNJOINED, f"cudaErrorStreamCaptureUnjoined: {error}") from error
        return Graph(self._device, capture)

    def __enter__(self) -> Self:
        self._before.append(self._device.make_current(self.simulated))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._device.make_current(self._before.pop())

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} (device 0)>"


class Event(FrameworkEvent):
    """An event of the simulated device."""

    told = staticmethod(as_cupy)

    def __init__(self, device: Any, block: bool = False, disable_timing: bool = False) -> None:
        super().__init__(device)

    done = property(lambda self: self.reached(), doc="Whether the marked work is done.")


_NUMBERS = itertools.count()
"""Of graphs, whose side streams have names of their own."""


class Graph:
    """A captured piece of work."""

    def __init__(self, device: Any, capture: Capture) -> None:
        self._device = device
        self._replayed = ReplayedGraph(device, capture, next(_NUMBERS))

    def launch(self, stream: Stream | None = None) -> None:
        """Launch what was captured on `stream`, or on the current one."""
        here = self._device.current() if stream is None else stream.simulated
        with as_cupy(), here.activate():
            self._replayed.replay()

    def upload(self, stream: Stream | None = None) -> None:
        """Nothing: there is no memory of a driver to set up."""
