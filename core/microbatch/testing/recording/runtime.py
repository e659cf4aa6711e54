"""A runtime that writes hand-offs between host threads into a trace.

Invariant: an opened gate that is waited for, a spawn and a join are edges; nothing else between threads is.
Threads that meet in other ways (a queue, a lock) look unordered to the checker.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence

from microbatch.testing.recording.trace import Trace
from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime, Task, default_runtime

__all__ = ["RecordingRuntime"]


class RecordingRuntime:
    """Wraps a runtime; give it to the wrapper whose step is recorded."""

    def __init__(self, trace: Trace, inner: Runtime | None = None) -> None:
        self._trace = trace
        self._inner = inner or default_runtime()
        self._numbers = itertools.count()

    def spawn(self, function: Callable[[], None], *, name: str) -> Task:
        """Spawn; what came before in the caller is ordered before the task."""
        number = next(self._numbers)
        trace = self._trace

        def run() -> None:
            trace.add("wait_host", token=("start", number))
            try:
                function()
            finally:
                trace.add("signal", token=("end", number))

        trace.add("signal", token=("start", number))
        return _Task(self._inner.spawn(run, name=name), trace, ("end", number))

    def gate(self) -> Gate:
        """A gate whose openings are ordered before the waits that take them."""
        return _Gate(self._inner.gate(), self._trace, ("gate", next(self._numbers)))

    def monotonic(self) -> float:
        """As of the wrapped runtime."""
        return self._inner.monotonic()

    def current(self) -> Hashable:
        """As of the wrapped runtime."""
        return self._inner.current()

    def point(self, label: str) -> None:
        """As of the wrapped runtime."""
        self._inner.point(label)

    def gather(self, gates: Sequence[Gate]) -> None:
        """Nothing: where threads sleep is no part of a trace."""

    def dump(self) -> str:
        """As of the wrapped runtime."""
        return self._inner.dump()


class _Gate:
    def __init__(self, inner: Gate, trace: Trace, token: Hashable) -> None:
        self._inner = inner
        self._trace = trace
        self._token = token

    def open(self) -> None:
        """Open, after saying so: whoever wakes must find the edge there."""
        self._trace.add("signal", token=self._token)
        self._inner.open()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait."""
        taken = self._inner.wait(timeout)
        if taken:
            self._trace.add("wait_host", token=self._token)
        return taken


class _Task:
    def __init__(self, inner: Task, trace: Trace, token: Hashable) -> None:
        self._inner = inner
        self._trace = trace
        self._token = token

    def join(self, timeout: float | None = None) -> bool:
        """Join."""
        ended = self._inner.join(timeout)
        if ended:
            self._trace.add("wait_host", token=self._token)
        return ended
