"""What is launched between the begin and the end of a capture, on one stream or on several.

Invariant: as on a device, capture follows the streams, not the threads: the stream it begins on captures, and
so does every stream that is made to wait for captured work, whoever launches there. All of them must be
joined to the first before the end. A replay launches the same work with the same waits and no others, each
stream of the capture on one of the graph's own, so what nothing orders inside a graph is found like
everywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from microbatch.testing.recording.trace import Access, Kind
from microbatch.testing.simulated.executor import Work


class CaptureRefusedError(RuntimeError):
    """Something that cannot be captured was asked for during a capture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Work for a stream, and what the trace says of it."""

    work: Work
    """What runs."""
    accesses: tuple[Access, ...]
    """The memory it touches."""
    label: str
    """The operation."""
    kind: Kind = "launch"
    """How the trace names it."""


class CapturedCall(NamedTuple):
    """One call during a capture."""

    kind: Literal["launch", "record", "wait"]
    """Which call."""
    stream: int
    """Number of the stream it was for."""
    launch: Launch | None = None
    """What is launched, in a launch."""
    mark: CapturedMark | None = None
    """What is recorded or waited for, in the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CapturedMark:
    """A point in the captured work of a stream."""

    capture: Capture
    """Whose."""
    known: dict[int, int]
    """Calls on each stream that come before it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Capture:
    """The calls of one capture.

    It knows streams by number and purpose; a stream knows its capture (`SimulatedStream.capture`).
    """

    pool: object
    """What it allocates from."""
    origin: int
    """Number of the first stream."""
    open: bool = False
    """Whether calls are captured now."""
    calls: list[CapturedCall] = field(default_factory=list)
    """What was captured, in order."""
    purposes: dict[int, str] = field(default_factory=dict)
    """Number of each stream that takes part -> its purpose."""
    known: dict[int, dict[int, int]] = field(default_factory=dict)
    """Number of a stream -> calls on each stream that come before what it does next."""

    def join(self, stream: int, purpose: str) -> None:
        """What is launched on `stream` is captured too."""
        self.purposes[stream] = purpose
        self.known[stream] = {stream: 0}

    def launch(self, stream: int, launch: Launch) -> None:
        """Keep `launch`."""
        self.known[stream][stream] += 1
        self.calls.append(CapturedCall("launch", stream, launch=launch))

    def record(self, stream: int) -> CapturedMark:
        """A point behind what `stream` has captured."""
        mark = CapturedMark(capture=self, known=dict(self.known[stream]))
        self.calls.append(CapturedCall("record", stream, mark=mark))
        return mark

    def wait(self, stream: int, mark: CapturedMark) -> None:
        """Later work of `stream` comes after `mark`."""
        known = self.known[stream]
        for number, count in mark.known.items():
            known[number] = max(known.get(number, 0), count)
        self.calls.append(CapturedCall("wait", stream, mark=mark))

    def unjoined(self) -> list[str]:
        """Purposes of the streams with work that nothing joins to the first stream."""
        joined = self.known[self.origin]
        return [
            purpose
            for number, purpose in self.purposes.items()
            if self.known[number][number] > joined.get(number, 0)
        ]
