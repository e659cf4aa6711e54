"""Which stream a ubatch is on, and the events that order its work across a hand-off.

Invariant: an event is recorded before the turn is passed, and the other stream waits for it after the turn is
back. Recorded later, it would also cover what siblings queued meanwhile, and nothing would overlap. Backends
that finish work before they return need no event: for them only the name of the lane is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from microbatch.errors import ThreadStateError
from microbatch.extend.protocols import Backend, Event, Stream
from microbatch.turns.step_lanes import Lane, StepLanes


class Activation:
    """Which of our streams is current in one thread; ubatches that share a thread share this."""

    __slots__ = ("_active", "_current", "_shared")

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._current: Stream | None = None
        self._active: AbstractContextManager[None] | None = None

    def use(self, stream: Stream | None) -> None:
        """Make `stream` current; None puts back what was current at first.

        Where ubatches share the thread it is set even if it was set last: putting away the state of the
        thread may have made the caller's stream current again.
        """
        if stream is self._current and not self._shared:
            return
        # Forgotten before it is left: after an interrupt in between, nothing is left twice.
        active, self._active = self._active, None
        self._current = stream
        if active is not None:
            active.__exit__(None, None, None)
        if stream is not None:
            active = stream.activate()
            active.__enter__()
            self._active = active


class StreamSide:
    """The streams of one ubatch; `lanes` is None where work is done on return."""

    __slots__ = ("_activation", "_backend", "_events", "_lanes", "_streams", "lane")

    def __init__(
        self, backend: Backend, lanes: StepLanes | None, ubatch: int, activation: Activation
    ) -> None:
        self.lane: Lane = "compute"
        """Which of its streams the ubatch is on."""
        self._backend = backend
        self._lanes = lanes
        self._streams: Mapping[Lane, Stream] = {} if lanes is None else lanes.pairs[ubatch]
        self._activation = activation
        self._events: dict[Lane, Event] = {}

    @property
    def has_streams(self) -> bool:
        """Whether there are streams to switch between, not only names of lanes."""
        return self._lanes is not None

    def resume(self) -> None:
        """Make this ubatch's stream of the lane current, behind what siblings did on that lane."""
        if self._lanes is not None:
            stream = self._streams[self.lane]
            self._lanes.claim(self.lane, stream)
            self._activation.use(stream)

    def end(self) -> None:
        """Put back what was current before the step; twice is once."""
        if self._lanes is not None:
            self._activation.use(None)

    def switch(self, lane: Lane) -> None:
        """Go to another lane; device work of the two is not ordered by this."""
        self.lane = lane
        self.resume()

    def record(self) -> Event | None:
        """Mark the work on the current stream so far; one event a lane, recorded again each time.

        Whoever calls this passes the turn or leaves the lane next, so a sibling may go on after it too.
        """
        if self._lanes is None:
            return None
        event = self._events.get(self.lane)
        if event is None:
            event = self._events[self.lane] = self._backend.event()
        event.record(self._streams[self.lane])
        self._lanes.marked(self.lane, event)
        return event

    def wait(self, event: Event | None) -> None:
        """Order later work of the current stream after `event`."""
        if event is not None:
            self._streams[self.lane].wait(event)

    def require(self, lane: Lane) -> None:
        """Raise ThreadStateError unless the ubatch is on `lane`."""
        if self.lane != lane:
            raise ThreadStateError(
                f"the ubatch is on its {self.lane} stream where {lane} is expected;"
                f" call dbo_switch_to_{'compute' if lane == 'compute' else 'comm'}() before"
            )

    def on_compute(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` with the compute stream current."""
        if self._lanes is None:
            return function(*args, **kwargs)
        stream = self._streams["compute"]
        self._lanes.claim("compute", stream)
        with stream.activate():
            return function(*args, **kwargs)
