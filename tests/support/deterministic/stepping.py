"""Tasks that run one operation at a time, when they are told to: for state machines that compare with a
model.

Invariant: between two calls no task runs; each call lets one task go to its next operation of the runtime
(open, wait, point, spawn, join), and control comes back. A limit passes only when `expire` says so, so time
is a rule like others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.support.deterministic.carriers import fastest_carrier
from tests.support.deterministic.runtime import DetRuntime
from tests.support.deterministic.tasks import DetTask, State

__all__ = ["Stepper"]


class Stepper:
    """A deterministic runtime driven from outside; `close` unwinds what is still there at the end."""

    def __init__(self, carrier: str | None = None, *, max_steps: int = 20_000) -> None:
        self._target: DetTask | None = None
        self.runtime = DetRuntime(
            self, carrier=carrier or fastest_carrier(), eager_timeouts=True, max_steps=max_steps
        )
        self.runtime.enter()

    def choose(self, candidates: Sequence[int], current: int | None) -> int:
        """As a strategy of the runtime: the task that was told to run, once, else the caller."""
        target, self._target = self._target, None
        return 0 if target is None or target.number not in candidates else target.number

    def start(self, function: Callable[[], None], name: str = "task") -> DetTask:
        """A new task that has not run yet."""
        return self.runtime.spawn(function, name=name)

    def advance(self, task: DetTask) -> bool:
        """Let `task` run to its next operation; False if it has ended or waits for a missing permit."""
        return task.state is State.READY and self._run(task)

    def expire(self, task: DetTask) -> bool:
        """Let the limit of the wait of `task` pass, and let it run; False if it does not wait with one."""
        return task.state is State.BLOCKED and task.deadline is not None and self._run(task)

    def settle(self, tasks: Sequence[DetTask]) -> None:
        """Let `tasks` run, each as long as it can, until all of them wait or have ended."""
        anybody = True
        while anybody:
            ran = [self._exhaust(task) for task in tasks]
            anybody = any(ran)

    def close(self) -> None:
        """Unwind all tasks; raises the first error that one of them let through."""
        self.runtime.leave()

    def _exhaust(self, task: DetTask) -> bool:
        ran = False
        while self.advance(task):
            ran = True
        return ran

    def _run(self, task: DetTask) -> bool:
        self._target = task
        self.runtime.point("the caller")
        return True
