"""The streams that a step uses, and the order of its work on each lane: compute, or communication.

Invariant: work of one lane keeps the order in which it was issued, over all ubatches of the step, as in vLLM.
The step begins after what the caller's stream was given, and the caller's stream goes on after the step.

Where the backend has `lanes`, each ubatch has a compute and a communication stream of its own. Allocators
give freed memory to later work of the stream that it was allocated on. On a compute stream shared by all
ubatches, one would be given what another has dropped while its communication still reads it (pitfall 10). On
streams of its own a ubatch uses again only what it dropped itself, and it has waited for that. The order of a
lane is then a chain: who goes on waits for the mark that the one before left when it passed the turn, which
costs one wait a hand-off.

Rejected: `record_stream` on what crosses lanes (intermediates of the function are not known here, and CuPy
has no such thing), holding references found in its frames, and joining both lanes at each hand-off (no
overlap is left).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import Literal

from microbatch.extend.device import Device
from microbatch.extend.protocols import Backend, Event, Stream

Lane = Literal["compute", "communication"]
"""What a stream is for."""

OTHER: Mapping[Lane, Lane] = MappingProxyType({"compute": "communication", "communication": "compute"})
"""Lane -> the other one."""


class StepLanes:
    """The streams of one step, and which of each lane was used last; only who has the turn may touch it."""

    def __init__(self, backend: Backend, pairs: Sequence[tuple[Stream, Stream]], *, lent: bool) -> None:
        """One pair (compute, communication) a ubatch; `lent` pairs go to another step when this one ends."""
        self._backend = backend
        self._lent = lent
        self.pairs: list[dict[Lane, Stream]] = [
            {"compute": compute, "communication": communication} for compute, communication in pairs
        ]
        """The two streams of each ubatch."""
        self._caller = backend.current_stream()
        entry = backend.event()
        entry.record(self._caller)
        # Each lane begins as if the caller's stream had been used last: its first work waits for the inputs.
        self._last: dict[Lane, tuple[Stream, Event | None]] = dict.fromkeys(OTHER, (self._caller, entry))
        self._used: dict[int, Stream] = {}

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

        Memory that was freed on a stream goes to later work of that stream. So before the next step borrows
        the pair, each stream waits until the other has read what it needs of it. The next caller's stream
        need not come after this one's, and a ubatch may begin on its communication stream, which then waits
        for nothing of its pair; one that failed may have left its compute stream behind the other.
        """
        ends: dict[int, Event] = {}
        for key, stream in self._used.items():
            end = ends[key] = self._backend.event()
            end.record(stream)
            self._caller.wait(end)
        if not self._lent:
            return
        for pair in self.pairs:
            for lane, stream in pair.items():
                other = ends.get(id(pair[OTHER[lane]]))
                if other is not None and id(stream) in ends:
                    stream.wait(other)


def lanes_of(device: Device, count: int) -> AbstractContextManager[StepLanes | None]:
    """The streams of a step of `count` ubatches, for a `with` block around it.

    They begin after the caller's stream, and it goes on after them, errors or not. All ubatches share one
    pair where the backend lends none. None on a backend whose work is done on return.
    """
    return _ordered(device, count) if device.backend.asynchronous else nullcontext()


@contextmanager
def _ordered(device: Device, count: int) -> Iterator[StepLanes]:
    """The streams, after what the caller's stream has been given and before what it is given next."""
    backend, lender = device.backend, device.lanes
    with _one_pair(backend, count) if lender is None else lender.lanes(count) as pairs:
        lanes = StepLanes(backend, pairs, lent=lender is not None)
        try:
            yield lanes
        finally:
            lanes.join_caller()


def _one_pair(backend: Backend, count: int) -> AbstractContextManager[Sequence[tuple[Stream, Stream]]]:
    return nullcontext([(backend.stream("compute"), backend.stream("communication"))] * count)
