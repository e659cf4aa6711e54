"""How long something may take that a step must not wait for."""

from __future__ import annotations

from microbatch.turns.runtime import Runtime

PAUSE = 0.001
"""Seconds between two looks at whether somebody else is done."""


class Deadline:
    """So many seconds from now."""

    __slots__ = ("_end", "_gate", "_runtime", "seconds")

    def __init__(self, seconds: float, runtime: Runtime) -> None:
        self.seconds = seconds
        """How long it was, in all."""
        self._runtime = runtime
        self._gate = runtime.gate()
        self._end = runtime.monotonic() + seconds

    def passed(self) -> bool:
        """Whether it is over."""
        return self._runtime.monotonic() >= self._end

    def pause(self) -> bool:
        """Sleep for a moment; False where it is over."""
        self._gate.wait(PAUSE)  # nobody opens it
        return not self.passed()
