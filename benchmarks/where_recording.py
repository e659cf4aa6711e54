"""Who did what when, in real steps: around the function, the store of outputs, and every wait in a gate.

Invariant: recording changes no decision of a step. The function gets a wrapper that holds nothing but methods
of C, so that showing whether it may be cut finds nothing that it writes. One record costs 2 us.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from resource import RUSAGE_THREAD, getrusage
from time import monotonic
from typing import Any

from benchmarks.where_split import FUNCTION, GATHER, WAITING, Interval
from microbatch.gathering.gather import Gather
from microbatch.turns.gates import EventGate, Gate
from microbatch.turns.runtime import ThreadRuntime

Raw = tuple[str, int, float, float, Any, Any]
"""Kind, thread, start, end, and the thread's use of resources at both; None for a wait."""


class Recording:
    """What was recorded."""

    def __init__(self) -> None:
        self._raw: deque[Raw] = deque()
        self.runtime = TimedRuntime(self._raw)
        """Give it to `wrap(runtime=)`."""

    def function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, recorded."""
        return _around(function, FUNCTION, self._raw.append)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Stores are recorded until the block is left."""
        plain = Gather.store
        Gather.store = _around(plain, GATHER, self._raw.append)  # type: ignore[method-assign]
        try:
            yield
        finally:
            Gather.store = plain  # type: ignore[method-assign]

    def clear(self) -> None:
        """Forget what was."""
        self._raw.clear()

    def intervals(self) -> list[Interval]:
        """All that was recorded, with the waits that still go on."""
        now = monotonic()
        going_on = [(WAITING, who, since, now, None, None) for who, since in self.runtime.since.items()]
        return [_interval(raw) for raw in [*self._raw, *going_on]]


class TimedRuntime(ThreadRuntime):
    """The real one, whose gates tell how long was waited in them."""

    __slots__ = ("_raw", "since")

    def __init__(self, raw: deque[Raw]) -> None:
        self._raw = raw
        self.since: dict[int, float] = {}
        """Thread -> when the wait began that it is in."""

    def gate(self) -> Gate:
        """A gate on an eventfd."""
        gate = TimedGate()
        gate.told, gate.since = self._raw.append, self.since
        return gate


class TimedGate(EventGate):
    """Records each wait."""

    __slots__ = ("since", "told")

    told: Callable[[Raw], None]
    since: dict[int, float]

    def wait(self, timeout: float | None = None) -> bool:
        """Take the permit, or return False after `timeout` seconds."""
        thread, started = threading.get_ident(), monotonic()
        self.since[thread] = started
        try:
            return super().wait(timeout)
        finally:
            self.since.pop(thread, None)
            self.told((WAITING, thread, started, monotonic(), None, None))


def _around(function: Callable[..., Any], kind: str, told: Callable[[Raw], None]) -> Callable[..., Any]:
    clock, thread, used = monotonic, threading.get_ident, getrusage

    def recorded(*args: Any, **kwargs: Any) -> Any:
        started, before = clock(), used(RUSAGE_THREAD)
        try:
            return function(*args, **kwargs)
        finally:
            told((kind, thread(), started, clock(), before, used(RUSAGE_THREAD)))

    return recorded


def _interval(raw: Raw) -> Interval:
    kind, thread, started, ended, before, after = raw
    if before is None:
        return Interval(kind=kind, thread=thread, started=started, ended=ended)
    return Interval(
        kind=kind,
        thread=thread,
        started=started,
        ended=ended,
        user=after.ru_utime - before.ru_utime,
        system=after.ru_stime - before.ru_stime,
        faults=after.ru_minflt - before.ru_minflt,
    )
