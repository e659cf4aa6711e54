"""A capture on a simulated device: the work of the streams that take part in it.

Invariant: a stream takes part from the moment it waits for an event of the capture, as in CUDA; work of any other
stream is not captured and runs as usual. At the end the stream that began it must have waited, directly or through
others, for all that the rest were given; else the capture is refused, as CUDA does with unjoined work.
"""

from __future__ import annotations

from microbatch.testing.recording.trace import Access
from microbatch.testing.simulated.executor import Work

__all__ = ["Capture", "CaptureRefusedError", "Covered"]

Covered = dict[str, int]
"""Purpose of a stream -> pieces of its captured work."""


class CaptureRefusedError(RuntimeError):
    """Something that cannot be captured was asked for during a capture."""


class Capture:
    """What was launched between the begin and the end of a capture, and by whom."""

    def __init__(self, pool: object, origin: str) -> None:
        self.pool = pool
        self.origin = origin
        self.works: list[Work] = []
        self.accesses: list[Access] = []
        self._given: Covered = {}
        self._covered: dict[str, Covered] = {origin: {}}

    def takes(self, stream: str) -> bool:
        """Whether work launched on `stream` is captured."""
        return stream in self._covered

    def add(self, stream: str, work: Work, accesses: list[Access]) -> None:
        """Collect `work`."""
        self.works.append(work)
        self.accesses += accesses
        self._given[stream] = self._covered[stream][stream] = self._given.get(stream, 0) + 1

    def recorded(self, stream: str) -> Covered | None:
        """What an event recorded on `stream` now stands for; None where the stream does not take part."""
        covered = self._covered.get(stream)
        return None if covered is None else dict(covered)

    def join(self, stream: str, covered: Covered) -> None:
        """Let `stream` take part, after what the event that it waits for stands for."""
        known = self._covered.setdefault(stream, {})
        for other, count in covered.items():
            known[other] = max(known.get(other, 0), count)

    def require_joined(self) -> None:
        """Raise CaptureRefusedError if the stream that began it did not wait for another one's work."""
        known = self._covered[self.origin]
        for stream, count in self._given.items():
            if known.get(stream, 0) < count:
                raise CaptureRefusedError(
                    f"the capture ended with unjoined work on stream {stream!r}; record an event there after it and "
                    f"let stream {self.origin!r} wait for it before the end"
                )
