"""Which stream a ubatch is on, and the events that order its work across a hand-off.

Invariant: an event is recorded before the turn is passed, and the other stream waits for it after the turn is
back. Recorded later, it would also cover what siblings queued meanwhile, and nothing would overlap. Work of
one lane (compute, or communication) keeps the order in which it was issued, over all ubatches of the step, as
in vLLM.

Where the backend has `lanes`, each ubatch has a compute and a communication stream of its own. Allocators
give freed memory to later work of the stream that it was allocated on. On a compute stream shared by all
ubatches, one would be given what another has dropped while its communication still reads it (pitfall 10). On
streams of its own a ubatch uses again only what it dropped itself, and it has waited for that. The order of a
lane is then a chain: who goes on waits for the mark that the one before left when it passed the turn, which
costs one wait a hand-off.

Rejected: `record_stream` on what crosses lanes (intermediates of the function are not known here, and CuPy
has no such thing), holding references found in its frames, and joining both lanes at each hand-off (no
overlap is left). Backends that finish work before they return need none of this: for them only the name of
the lane is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import Any, Literal

from microbatch.errors import ThreadStateError
from microbatch.extend.abilities import SupportsLanes
from microbatch.extend.protocols import Backend, Event, Stream

__all__ = ["OTHER", "Activation", "Lane", "StepLanes", "StreamSide", "lanes_of"]

Lane = Literal["compute", "communication"]
"""What a stream is for."""

OTHER: Mapping[Lane, Lane] = MappingProxyType({"compute": "communication", "communication": "compute"})
"""Lane -> the other one."""


class StepLanes:
    """The streams of one step, and which of each lane was used last; only who has the turn may touch it."""

    __slots__ = ("_backend", "_caller", "_last", "_lent", "_pairs", "_used")

    def __init__(self, backend: Backend, pairs: Sequence[tuple[Stream, Stream]], *, lent: bool) -> None:
        """One pair (compute, communication) a ubatch; `lent` pairs go to another step when this one ends."""
        self._backend = backend
        self._lent = lent
        self._pairs: list[dict[Lane, Stream]] = [
            {"compute": compute, "communication": communication} for compute, communication in pairs
        ]
        self._caller = backend.current_stream()
        entry = backend.event()
        entry.record(self._caller)
        # Each lane begins as if the caller's stream had been used last: the first of each waits for the
        # inputs.
        self._last: dict[Lane, tuple[Stream, Event | None]] = dict.fromkeys(OTHER, (self._caller, entry))
        self._used: dict[int, Stream] = {}

    def pair_of(self, ubatch: int) -> Mapping[Lane, Stream]:
        """The two streams of one ubatch."""
        return self._pairs[ubatch]

    def claim(self, lane: Lane, stream: Stream) -> None:
        """Order what `stream` does next after all that was done on `lane` so far."""
        last, mark = self._last[lane]
        if last is stream:
            if mark is not None:
                self._last[lane] = (stream, None)  # more work follows, which the mark does not cover
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
        """Let the caller's stream wait for all that was done; of a lent pair, also each stream for the other.

        The next step that borrows a pair may give memory from one stream to work of the same stream only, so
        what the other stream still reads must be done before.
        """
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
    """The streams of a step of `count` ubatches, for a `with` block around it.

    They follow the caller's stream at the begin, and the caller's stream follows them at the end, errors or
    not. None on a backend whose work is done on return. One pair for all ubatches where the backend lends
    none.
    """
    return _lanes(backend, count) if backend.asynchronous else NO_LANES


NO_LANES: AbstractContextManager[None] = nullcontext()
"""For a backend whose work is done on return."""


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
        self._streams = {} if lanes is None else lanes.pair_of(ubatch)
        self._activation = activation
        self._events: dict[Lane, Event] = {}

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

        Whoever calls this passes the turn or leaves the lane next, so a sibling may go on after this mark
        too.
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
