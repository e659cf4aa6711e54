"""Streams and events of the stand-in for `torch.cuda`.

Invariant: what torch's do, these do, under the same names; equal streams are the same stream. What cannot be
captured is refused with CUDA's words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch

from microbatch.testing.simulated.capture import CaptureRefusedError
from microbatch.testing.simulated.framework import FrameworkEvent, FrameworkStream
from microbatch.testing.simulated.streams import SimulatedStream, StreamDevice
from microbatch_backends.torch_simulated.simulated import TorchStreams


@contextmanager
def as_cuda() -> Iterator[None]:
    """A refused capture is told as CUDA tells it."""
    try:
        yield
    except CaptureRefusedError as error:
        raise torch.AcceleratorError(
            f"CUDA error: operation not permitted when stream is capturing ({error})"
        ) from error


class Stream(FrameworkStream):
    """A stream of the simulated device."""

    told = staticmethod(as_cuda)

    def __init__(self, device: TorchStreams, simulated: SimulatedStream) -> None:
        super().__init__(device, simulated)
        self._before: list[SimulatedStream] = []

    device = property(lambda self: torch.device("cuda", 0), doc="`cuda:0`.")
    device_index = 0
    stream_id = property(lambda self: self.simulated.number, doc="Its number.")
    cuda_stream = property(lambda self: self.simulated.number, doc="Its number; 0 is the default stream.")

    @property
    def priority(self) -> int:
        """-1 for an urgent one, else 0."""
        return -1 if self.simulated.purpose.startswith("urgent") else 0

    def wait_stream(self, stream: Stream) -> None:
        """Order later work after all that `stream` has now."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Mark the work launched so far."""
        marked = Event(self._device) if event is None else event
        marked.record(self)
        return marked

    def query(self) -> bool:
        """Whether all is done."""
        return self.record_event().query()

    def __enter__(self) -> Self:
        self._before.append(self._device.make_current(self.simulated))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._device.make_current(self._before.pop())

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device=cuda:0 {self.simulated.purpose}>"


class Event(FrameworkEvent):
    """An event of the simulated device; times are numbers of work that has run."""

    told = staticmethod(as_cuda)

    def __init__(self, device: StreamDevice, enable_timing: bool = False, **options: Any) -> None:
        super().__init__(device)

    def wait(self, stream: Stream | None = None) -> None:
        """Order later work of `stream`, or of the current one, after this."""
        with as_cuda():
            (self._device.current() if stream is None else stream.simulated).wait(self.simulated)

    def query(self) -> bool:
        """Whether the marked work is done; each time more work runs, as who asks may sleep meanwhile."""
        return self.reached()

    def elapsed_time(self, end: Event) -> float:
        """1 ms, always: nothing here takes the time that a device takes."""
        end.synchronize()
        return 1.0


class StreamBlock:
    """`with torch.cuda.stream(stream):`; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        if self._stream is not None:
            self._stream.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        if self._stream is not None:
            self._stream.__exit__()
