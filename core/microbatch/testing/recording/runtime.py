"""A runtime that writes hand-offs between host threads into a trace.

Invariant: an opened gate that is waited for, a spawn and a join are edges; nothing else between threads is.
Threads that meet in other ways (a queue, a lock) look unordered to the checker.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from microbatch.testing.recording.trace import Trace
from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime, Task, default_runtime


class RecordingRuntime:
    """Wraps a runtime; give it to the wrapper whose step is recorded."""

    def __init__(self, trace: Trace, inner: Runtime | None = None) -> None:
        self._trace = trace
        self._inner = inner or default_runtime()
        self._numbers = itertools.count()
        # the rest is as of the wrapped runtime
        self.monotonic, self.current = self._inner.monotonic, self._inner.current
        self.point, self.dump = self._inner.point, self._inner.dump

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

    def gather(self, gates: Sequence[Gate]) -> None:
        """Nothing: where threads sleep is no part of a trace."""


class _HandOff:
    """Something that one thread opens or ends and another waits for."""

    def __init__(self, inner: Any, trace: Trace, token: Hashable) -> None:
        self._inner = inner
        self._trace = trace
        self._token = token

    def _taken(self, taken: bool) -> bool:
        if taken:
            self._trace.add("wait_host", token=self._token)
        return taken


class _Gate(_HandOff):
    def open(self) -> None:
        """Open, after saying so: whoever wakes must find the edge there."""
        self._trace.add("signal", token=self._token)
        self._inner.open()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait."""
        return self._taken(self._inner.wait(timeout))


class _Task(_HandOff):
    def join(self, timeout: float | None = None) -> bool:
        """Join."""
        return self._taken(self._inner.join(timeout))
