"""A latch: opened once and for good, and waited for by any number of threads.

Invariant: it never closes again, and whoever waits is woken by the opening or finds it open. Opening takes no
lock: the flag is set before anybody is woken, and whoever comes to wait looks at the flag once more after
lining up. Rejected: `threading.Event`, whose lock a thread that is interrupted while waiting can keep; all
later waits, and the opening itself, then hang for ever (after 15 to 377 times Ctrl-C in streamed steps).
"""

from __future__ import annotations

from collections import deque

from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime


class Latch:
    """Closed when it is made."""

    __slots__ = ("_runtime", "_waiting", "opened")

    def __init__(self, runtime: Runtime) -> None:
        self.opened = False
        """Whether waits return at once."""
        self._runtime = runtime
        self._waiting: deque[Gate] = deque()

    def open(self) -> None:
        """Let everybody through, now and later; twice is once."""
        self.opened = True
        while self._waiting:
            try:
                self._waiting.popleft().open()
            except IndexError:  # another thread opens it too
                return

    def wait(self, timeout: float | None = None) -> bool:
        """Return once it is open, or False after `timeout` seconds (None: wait for ever)."""
        if self.opened:
            return True
        gate = self._runtime.gate()
        self._waiting.append(gate)
        self._runtime.point("at a latch")
        deadline = None if timeout is None else self._runtime.monotonic() + timeout
        left = timeout
        while not self.opened and gate.wait(left):
            left = None if deadline is None else deadline - self._runtime.monotonic()
        return self.opened
