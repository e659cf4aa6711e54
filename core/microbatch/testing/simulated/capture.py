"""What is launched between the begin and the end of a capture, on one stream or on several.

Invariant: as on a device, capture follows the streams, not the threads: the stream it begins on captures, and so does
every stream that is made to wait for captured work, whoever launches there. All of them must be joined to the first
before the end. A replay launches the same work with the same waits and no others, each stream of the capture on one of
the graph's own, so what nothing orders inside a graph is found like everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from microbatch.testing.recording.trace import Access, Kind
from microbatch.testing.simulated.executor import Work

if TYPE_CHECKING:
    from microbatch.testing.simulated.streams import SimulatedStream

__all__ = ["Capture", "CaptureRefusedError", "CapturedMark"]


class CaptureRefusedError(RuntimeError):
    """Something that cannot be captured was asked for during a capture."""


class Captured(NamedTuple):
    """One call during a capture."""

    kind: Literal["launch", "record", "wait"]
    """What."""
    stream: int
    """Number of the stream it was for."""
    work: Work | None = None
    """What is launched."""
    accesses: tuple[Access, ...] = ()
    """The memory it touches."""
    label: str = ""
    """The operation."""
    as_: Kind = "launch"
    """How the trace names it."""
    mark: CapturedMark | None = None
    """What is recorded or waited for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CapturedMark:
    """A point in the captured work of a stream."""

    capture: Capture
    """Whose."""
    known: dict[int, int]
    """Calls on each stream that come before it."""


class Capture:
    """The calls of one capture, which begins on the stream `origin` and allocates from `pool`."""

    def __init__(self, pool: object, origin: SimulatedStream) -> None:
        self.pool = pool
        self.origin = origin
        self.open = False
        self.calls: list[Captured] = []
        self.streams: dict[int, SimulatedStream] = {}
        self._known: dict[int, dict[int, int]] = {}

    def begin(self) -> None:
        """From here on, what is launched on the first stream is captured."""
        self.open = True
        self.join(self.origin)

    def join(self, stream: SimulatedStream) -> None:
        """`stream` captures too."""
        stream.capture = self
        self.streams[stream.number] = stream
        self._known[stream.number] = {stream.number: 0}

    def launch(
        self, stream: SimulatedStream, work: Work, accesses: Sequence[Access], label: str, as_: Kind
    ) -> None:
        """Keep `work`."""
        self._known[stream.number][stream.number] += 1
        self.calls.append(
            Captured("launch", stream.number, work=work, accesses=tuple(accesses), label=label, as_=as_)
        )

    def record(self, stream: SimulatedStream) -> CapturedMark:
        """A point behind what `stream` has captured."""
        mark = CapturedMark(capture=self, known=dict(self._known[stream.number]))
        self.calls.append(Captured("record", stream.number, mark=mark))
        return mark

    def wait(self, stream: SimulatedStream, mark: CapturedMark) -> None:
        """Later work of `stream` comes after `mark`."""
        known = self._known[stream.number]
        for number, count in mark.known.items():
            known[number] = max(known.get(number, 0), count)
        self.calls.append(Captured("wait", stream.number, mark=mark))

    def end(self) -> None:
        """No stream captures any more."""
        self.open = False
        for stream in self.streams.values():
            stream.capture = None

    def unjoined(self) -> list[str]:
        """Purposes of the streams with work that nothing joins to the first stream."""
        joined = self._known[self.origin.number]
        return [
            stream.purpose
            for number, stream in self.streams.items()
            if self._known[number][number] > joined.get(number, 0)
        ]
