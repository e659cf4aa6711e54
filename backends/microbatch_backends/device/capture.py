"""The streams of a capture, who is inside one, and which errors mean that work cannot be captured.

Invariant: one capture at a time in the process; the child of a fork has a line of its own. All streams of a
capture are its own, because a capture takes whatever is launched on its streams, by any thread. A graph keeps
those streams as long as it lives: cuBLAS keeps a workspace for each stream, and resetting one graph would
clear the workspace of another captured on the same stream.

Which capture the calling code is part of stands in a context variable. So it goes with the thread state into
the threads of the capture's ubatches, and threads that have nothing to do with the capture do not see it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from microbatch.errors import StreamsExhaustedError
from microbatch.host.forks import FORKS
from microbatch.options.raised import cause_of, context_of, is_a, number_of, text_of
from microbatch.turns.one_at_a_time import OneAtATime
from microbatch.turns.runtime import default_runtime
from microbatch_backends.device.driver import Driver
from microbatch_backends.device.streams import DeviceStream

__all__ = ["URGENT", "CaptureLanes", "Draw", "capture_of", "capture_refused", "one_capture"]

URGENT = -1
"""Priority of streams for communication and copies: such work is short, and what waits for it is not."""

Answer = TypeVar("Answer")
Draw = Callable[[int, Sequence[Any]], Any]
"""From a priority and a capture's raw streams makes one more, neither among them nor in eager use."""

REFUSALS = (
    # CUDA
    "operation not permitted when stream is capturing",
    "operation not permitted on an event last recorded in a capturing stream",
    "operation failed due to a previous error during capture",
    "operation would make the legacy stream depend on a capturing blocking stream",
    "dependency created on uncaptured work in another stream",
    "capturing stream has unjoined work",
    "cudaerrorstreamcapture",
    # torch
    "during cuda graph capture",
    "during graph capture",
    "cuda graph is empty",
    # CuPy
    "during stream capture",
    "stream is capturing",
    "is capturing, so synchronous",
)
"""Texts, in lower case, that mean "this cannot be captured"; the work can still run without a graph. One
table for all frameworks, since a function of one framework may call another."""

REFUSAL_CODES = range(900, 909)
"""cudaErrorStreamCaptureUnsupported (900) to cudaErrorStreamCaptureWrongThread (908)."""


class CaptureLanes:
    """The streams of one capture."""

    def __init__(self, driver: Driver, draw: Draw) -> None:
        self.driver = driver
        self._draw = draw
        self._streams: dict[tuple[str, int], DeviceStream] = {}
        self.first: Any = draw(0, ())
        """The raw stream on which the capture begins and ends."""

    def of(self, name: str, priority: int) -> DeviceStream:
        """The stream called `name` with `priority`, the same each time."""
        found = self._streams.get((name, priority))
        if found is None:
            taken = [self.first, *(stream.raw for stream in list(self._streams.values()))]
            made = DeviceStream(self.driver, self._draw(priority, taken), self.driver.index(), name)
            found = self._streams.setdefault((name, priority), made)
        return found

    def pairs(self, count: int) -> list[tuple[DeviceStream, DeviceStream]]:
        """A compute and a communication stream for each of `count` ubatches, the same each time."""
        return [
            (self.of(f"compute {number}", 0), self.of(f"communication {number}", URGENT))
            for number in range(count)
        ]


class Lines:
    """Where captures wait for each other, a line for each process: a fork copies what threads left in it."""

    __slots__ = ("_by_forks",)

    def __init__(self) -> None:
        self._by_forks: dict[int, OneAtATime] = {}

    def here(self) -> OneAtATime:
        """The line of this process; the same for all threads."""
        made = self._by_forks.get(FORKS.count)
        return made or self._by_forks.setdefault(FORKS.count, OneAtATime(default_runtime()))


_LINES = Lines()
"""Of the process, since the limit of one capture at a time is the driver's."""

_CAPTURES: ContextVar[tuple[CaptureLanes, ...]] = ContextVar("microbatch_captures", default=())
"""The captures that the calling code is part of, innermost last; several where a framework calls another."""


def capture_of(driver: Driver) -> CaptureLanes | None:
    """The innermost capture of `driver` that the calling code is part of."""
    return next((lanes for lanes in reversed(_CAPTURES.get()) if lanes.driver is driver), None)


def one_capture(driver: Driver, draw: Draw, work: Callable[[CaptureLanes], Answer]) -> Answer:
    """What `work` returns, given a capture with streams from `draw`; no other thread captures meanwhile.

    A capture inside of another, by the code of another framework, is a part of that one and does not wait.
    """
    outer = _CAPTURES.get()

    def captured() -> Answer:
        lanes = CaptureLanes(driver, draw)
        try:
            try:
                _CAPTURES.set((*outer, lanes))
                return work(lanes)
            finally:
                _CAPTURES.set(outer)
        finally:
            _CAPTURES.set(outer)  # again: an interrupt may have come just before the first one

    return captured() if outer else _LINES.here().run(captured)


def capture_refused(error: BaseException) -> bool:
    """Whether `error`, or an error it came from, says that the work cannot be captured."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if _refuses(link):
            return True
        cause = cause_of(link)
        link = context_of(link) if cause is None else cause
    return False


def _refuses(error: BaseException) -> bool:
    codes = (number_of(error, "error_code"), number_of(error, "status"))  # torch's name, and CuPy's
    if is_a(error, StreamsExhaustedError) or any(code in REFUSAL_CODES for code in codes):
        return True
    text = text_of(error).casefold()
    return any(phrase in text for phrase in REFUSALS)
