"""Which stream a ubatch is on, and the events that order its work across a hand-off.

Invariant: an event is recorded before the turn is passed and waited for after it is back, on the other stream.
Recorded later, it would also cover what the sibling queued meanwhile, and nothing would overlap. All ubatches share
one compute and one communication stream, as in vLLM: work of one stream keeps the order in which it was issued.
Backends that finish work before they return need none of this: there only the name of the stream is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

from microbatch.errors import ThreadStateError
from microbatch.extend.protocols import Backend, Event, Stream

__all__ = ["Activation", "Lane", "StreamSide", "joined"]

Lane = Literal["compute", "communication"]
OTHER: dict[Lane, Lane] = {"compute": "communication", "communication": "compute"}


class Activation:
    """Which of our streams is current in one thread; ubatches that share a thread share this."""

    __slots__ = ("_active", "_streams", "lane", "shared")

    def __init__(self, backend: Backend, *, shared: bool = False) -> None:
        self.lane: Lane | None = None
        self.shared = shared and backend.asynchronous
        self._active: AbstractContextManager[None] | None = None
        self._streams: dict[Lane, Stream] = {}
        if backend.asynchronous:
            self._streams = {
                "compute": backend.stream("compute"),
                "communication": backend.stream("communication"),
            }

    def use(self, lane: Lane | None) -> None:
        """Make the stream of `lane` current; None puts back what was current at first."""
        active, self._active = self._active, None
        self.lane = lane
        if active is not None:
            active.__exit__(None, None, None)
        if lane is not None and self._streams:
            active = self._streams[lane].activate()
            active.__enter__()
            self._active = active

    def stream(self, lane: Lane) -> Stream | None:
        """The stream of `lane`; None on a backend whose work is done on return."""
        return self._streams.get(lane)


class StreamSide:
    """The streams of one ubatch."""

    __slots__ = ("_activation", "_backend", "_events", "lane")

    def __init__(self, backend: Backend, activation: Activation | None = None) -> None:
        self.lane: Lane = "compute"
        self._backend = backend
        self._activation = activation or Activation(backend)
        self._events: dict[Lane, Event] = {}

    def resume(self) -> None:
        """Make the stream of this ubatch current after a sibling ran.

        In a shared thread always: parking the thread's state may have put the caller's stream back.
        """
        if self._activation.shared or self._activation.lane != self.lane:
            self._activation.use(self.lane)

    def end(self) -> None:
        """Put back what was current before the step; twice is once."""
        if self._activation.lane is not None:
            self._activation.use(None)

    def switch(self, lane: Lane) -> None:
        """Go to another stream; device work is not ordered by this."""
        self.lane = lane
        self.resume()

    def record(self) -> Event | None:
        """Mark the work on the current stream so far; one event a lane, recorded again each time."""
        stream = self._activation.stream(self.lane)
        if stream is None:
            return None
        event = self._events.get(self.lane)
        if event is None:
            event = self._events[self.lane] = self._backend.event()
        event.record(stream)
        return event

    def wait(self, event: Event | None) -> None:
        """Order later work of the current stream after `event`."""
        stream = self._activation.stream(self.lane)
        if event is not None and stream is not None:
            stream.wait(event)

    def require(self, lane: Lane) -> None:
        """Raise ThreadStateError unless the ubatch is on `lane`."""
        if self.lane != lane:
            raise ThreadStateError(
                f"the ubatch is on its {self.lane} stream where {lane} is expected;"
                f" call dbo_switch_to_{'compute' if lane == 'compute' else 'comm'}() before"
            )

    def on_compute(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` with the compute stream current."""
        stream = self._activation.stream("compute")
        if stream is None:
            return function(*args, **kwargs)
        with stream.activate():
            return function(*args, **kwargs)


@contextmanager
def joined(backend: Backend) -> Iterator[None]:
    """Around a step: our streams begin after the caller's stream, which goes on after ours; errors or not."""
    if not backend.asynchronous:
        yield
        return
    caller = backend.current_stream()
    ours = [backend.stream("compute"), backend.stream("communication")]
    _order(backend, [caller], ours)
    try:
        yield
    finally:
        _order(backend, ours, [caller])


def _order(backend: Backend, before: list[Stream], after: list[Stream]) -> None:
    for earlier in before:
        event = backend.event()
        event.record(earlier)
        for later in after:
            if later is not earlier:
                later.wait(event)
