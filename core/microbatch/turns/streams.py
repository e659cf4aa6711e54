"""Which stream a ubatch is on, and the events that order its work across a hand-off.

Invariant: an event is recorded before the turn is passed and waited for after it is back, on the other stream.
Recorded later, it would also cover what the sibling queued meanwhile, and nothing would overlap. Work of one lane
(compute, or communication) keeps the order in which it was issued, over all ubatches of the step, as in vLLM.

Each ubatch has a compute and a communication stream of its own where the backend has `lanes`: allocators hand freed
memory to later work of the stream it was allocated on, so on a compute stream shared by all ubatches one would be
given what another has dropped while its communication still reads it (pitfall 10). On its own streams a ubatch
reuses only what it dropped itself, and it has waited for that. The order of a lane is then a chain: who goes on
waits for the mark that the one before left when it passed the turn, which costs one wait a hand-off.

Rejected: `record_stream` on what crosses lanes (the function's own intermediates are not known here, and CuPy has no
such thing), holding references found in its frames, and joining both lanes at each hand-off (no overlap is left).
Backends that finish work before they return need none of this: there only the name of the lane is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

from microbatch.errors import ThreadStateError
from microbatch.extend.abilities import SupportsLanes
from microbatch.extend.protocols import Backend, Event, Stream

__all__ = ["OTHER", "Activation", "Lane", "StepLanes", "StreamSide", "lanes_of"]

Lane = Literal["compute", "communication"]
OTHER: dict[Lane, Lane] = {"compute": "communication", "communication": "compute"}


class StepLanes:
    """The streams of one step, and which of each lane was used last; only who has the turn may touch it.

    `lent` says that each pair is one ubatch's, and goes to another step when this one has ended.
    """

    __slots__ = ("_backend", "_caller", "_last", "_lent", "_pairs", "_used")

    def __init__(self, backend: Backend, pairs: Sequence[tuple[Stream, Stream]], *, lent: bool) -> None:
        self._backend = backend
        self._lent = lent
        self._pairs: list[dict[Lane, Stream]] = [
            {"compute": compute, "communication": communication} for compute, communication in pairs
        ]
        self._caller = backend.current_stream()
        entry = backend.event()
        entry.record(self._caller)
        self._last: dict[Lane, tuple[Stream, Event | None]] = dict.fromkeys(OTHER, (self._caller, entry))
        self._used: dict[int, Stream] = {}

    def of(self, ubatch: int) -> dict[Lane, Stream]:
        """The streams of one ubatch."""
        return self._pairs[ubatch]

    def claim(self, lane: Lane, stream: Stream) -> None:
        """Order what `stream` does next after all that was done on `lane` so far."""
        last, mark = self._last[lane]
        if last is stream:
            if mark is not None:
                self._last[lane] = (stream, None)
            return
        if mark is None:
            mark = self._backend.event()
            mark.record(last)
        stream.wait(mark)
        self._last[lane] = (stream, None)
        self._used[id(stream)] = stream

    def marked(self, lane: Lane, mark: Event) -> None:
        """`mark` was recorded behind all that was done on `lane` so far."""
        self._last[lane] = (self._last[lane][0], mark)

    def join_caller(self) -> None:
        """The caller goes on after all of it; so does each stream of a lent pair after the other."""
        ends: dict[int, Event] = {}
        for key, stream in self._used.items():
            end = ends[key] = self._backend.event()
            end.record(stream)
            self._caller.wait(end)
        if not self._lent:
            return
        for pair in self._pairs:
            for lane, stream in pair.items():
                other = ends.get(id(pair[OTHER[lane]]))
                if other is not None and id(stream) in ends:
                    stream.wait(other)


def lanes_of(backend: Backend, count: int) -> AbstractContextManager[StepLanes | None]:
    """Around a step of `count` ubatches: their streams, joined with the caller's at both ends, errors or not.

    None on a backend whose work is done on return. One pair for all where the backend lends none.
    """
    return _lanes(backend, count) if backend.asynchronous else NO_LANES


NO_LANES: AbstractContextManager[None] = nullcontext()


@contextmanager
def _lanes(backend: Backend, count: int) -> Iterator[StepLanes]:
    if isinstance(backend, SupportsLanes):
        with backend.lanes(count) as pairs, _closing(StepLanes(backend, pairs, lent=True)) as lanes:
            yield lanes
        return
    pair = (backend.stream("compute"), backend.stream("communication"))
    with _closing(StepLanes(backend, [pair] * count, lent=False)) as lanes:
        yield lanes


@contextmanager
def _closing(lanes: StepLanes) -> Iterator[StepLanes]:
    try:
        yield lanes
    finally:
        lanes.join_caller()


class Activation:
    """Which of our streams is current in one thread; ubatches that share a thread share this."""

    __slots__ = ("_active", "_current", "_shared")

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._current: Stream | None = None
        self._active: AbstractContextManager[None] | None = None

    def use(self, stream: Stream | None) -> None:
        """Make `stream` current; None puts back what was current at first.

        In a shared thread it is always set: parking the thread's state may have put the caller's stream back.
        """
        if stream is self._current and not self._shared:
            return
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
        self._backend = backend
        self._lanes = lanes
        self._streams = {} if lanes is None else lanes.of(ubatch)
        self._activation = activation
        self._events: dict[Lane, Event] = {}

    def resume(self) -> None:
        """Go on on the own stream of the lane, after what siblings did on that lane."""
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

        The caller passes the turn or leaves the lane next, so the mark is also where a sibling may go on.
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
