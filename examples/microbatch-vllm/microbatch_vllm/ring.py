"""One step of vLLM on microbatch's ring; the only module that imports what microbatch does not make public.

Invariant: the first error is in the runner's hands before any cancellation that follows from it. A runner
takes an error when its thread has left the context, which we do not see; so whoever is cancelled first waits
for the thread that failed to end. A ubatch that has finished keeps its seat and passes the turn on until all
have finished, so either all contexts end well or none does: the V1 runner joins whatever outputs it finds.
Errors are kept as text, since a kept error would keep the arrays of its frames.
"""

from __future__ import annotations

import threading
from collections import deque

from microbatch.errors import BarrierBrokenError, WaitTimeoutError
from microbatch.options.sources import resolve, variable
from microbatch.turns.handoff import ThreadRing
from microbatch.turns.runtime import default_runtime
from microbatch.turns.state import UBatchCancelled

OPTION = "barrier_timeout"


def limit_of_waits() -> float | None:
    """Seconds any wait may take, as configured for microbatch; None for no limit. Raises ConfigError."""
    return resolve().config.barrier_timeout


class Step:
    """What the contexts of one step have in common."""

    def __init__(self, parties: int, limit: float | None) -> None:
        """Made by the caller; no wait takes longer than `limit` seconds."""
        runtime = default_runtime()
        self.limit = limit
        """Seconds, None for no limit."""
        self.members: set[int] = set()
        """Numbers that contexts were made for."""
        self.over = False
        """Whether its runner has begun another step; a thread that comes now has nobody to run with."""
        self._ring = ThreadRing(runtime, [runtime.gate() for _ in range(parties)], limit)
        self.pass_turn = self._ring.hand_over
        """Passes the turn; returns when it is back. Raises UBatchCancelled, WaitTimeoutError."""
        self._parties = parties
        self._arrived: deque[int] = deque()
        self._finished: deque[int] = deque()
        self._gone: deque[None] = deque()
        self._causes: deque[tuple[threading.Thread, str]] = deque()
        self._caused = threading.Event()

    def start(self, index: int, line: threading.Barrier, begin: threading.Event) -> None:
        """Come to the start line; returns with the turn. The caller sets `begin` for the first ubatch."""
        if self.over:
            raise BarrierBrokenError(f"ubatch {index} came when its step was over; {_remedy()}")
        self._arrived.append(index)
        line.wait()
        if index == 0 and not begin.wait(self.limit):
            raise WaitTimeoutError(
                f"ubatch 0 of {self._parties} waited {self.limit} s for the caller to begin the step;"
                f" {_remedy()}"
            )
        self._ring.start(index)

    def not_returned(self, index: int, error: BaseException) -> None:
        """The turn did not come back; where the limit passed, the siblings are cancelled by now."""
        if not isinstance(error, UBatchCancelled):
            self._note(index, error)

    def has_turn(self, index: int) -> bool:
        """Whether nobody else may run."""
        return self._ring.holder == index and not self._ring.scattered

    def finish(self, index: int) -> None:
        """Come to the end; returns when all have. Raises UBatchCancelled if a sibling fails meanwhile."""
        self._finished.append(index)
        while len(self._finished) < self._parties:
            self.pass_turn(index, "its end")
        self._ring.leave(index)

    def fail(self, index: int, error: BaseException) -> None:
        """Leave because of `error`; returns when the thread that failed first has ended, if it is another."""
        self.not_returned(index, error)
        self._ring.fail(index)
        self._ring.leave(index)
        self._caused.wait(self.limit)
        thread, cause = next(iter(self._causes), (threading.current_thread(), ""))
        if thread is not threading.current_thread():
            error.add_note(f"ubatch {index} was unwound, or failed too, after {cause}")
            thread.join(self.limit)

    def go(self) -> bool:
        """Leave for good; whether this was the last of all."""
        self._gone.append(None)
        return len(self._gone) == self._parties

    def not_started(self) -> str:
        """Who did not come to the start line, as text."""
        missing = [str(index) for index in range(self._parties) if index not in self._arrived]
        who = f"ubatch {', '.join(missing)}" if missing else "the caller"
        return (
            f"a step of {self._parties} ubatches did not start: {who} did not come within {self.limit} s (an"
            f" error before that is shown by its own thread); {_remedy()}"
        )

    def _note(self, index: int, error: BaseException) -> None:
        """Keep who failed, and why; the first one counts, and a cancellation is none."""
        text = f"ubatch {index} raised {type(error).__name__}: {error}"
        self._causes.append((threading.current_thread(), text))
        self._caused.set()


def _remedy() -> str:
    return f"set {variable(OPTION)} to more seconds if that may take so long"
