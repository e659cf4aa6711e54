"""Tasks and gates of the deterministic runtime.

Invariant: the runtime imports this file, and it does not import the runtime. What a task or a gate asks of
its runtime is the protocol `Scheduler`.
"""

from __future__ import annotations

import enum
from typing import Any, Protocol

__all__ = ["DetGate", "DetTask", "Killed", "Scheduler", "State"]


class Killed(BaseException):
    """Unwinds the tasks of a run that is over."""


class Scheduler(Protocol):
    """What tasks and gates ask of their runtime."""

    running: bool
    """Whether a program runs; a gate may be opened later, by a pool that is collected then."""

    def step(self, label: str) -> DetTask:
        """Let the runtime choose who goes on; returns the calling task when it is chosen again."""
        ...

    def block(self, task: DetTask, gate: DetGate | None, limit: float | None) -> bool:
        """Park `task` until somebody wakes it; False if `limit` virtual seconds passed first."""
        ...


class State(enum.Enum):
    """What a task can do now."""

    READY = "can run"
    BLOCKED = "waits"
    DRAINING = "has ended and waits for the others"
    ENDED = "has ended"


class DetTask:
    """One task."""

    __slots__ = (
        "_runtime", "deadline", "error", "expired", "gate", "joiners", "name", "number", "place", "spurious",
        "state", "where",
    )  # fmt: skip

    def __init__(self, runtime: Scheduler, number: int, name: str, place: Any) -> None:
        self._runtime = runtime
        self.number = number
        self.name = name
        self.place = place
        self.state = State.READY
        self.gate: DetGate | None = None
        self.deadline: float | None = None
        self.expired = False
        self.spurious = False
        self.error: BaseException | None = None
        self.where = "its first step"
        self.joiners: list[DetTask] = []

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; False after `timeout` virtual seconds, True at once in the task itself."""
        task = self._runtime.step(f"join {self.name}")
        while not self.ended:
            if task is self:
                return True
            self.joiners.append(task)
            if not self._runtime.block(task, None, timeout):
                return self.ended
        return self.ended

    @property
    def ended(self) -> bool:
        """Whether its function has returned or raised."""
        return self.state is State.ENDED

    def end(self) -> None:
        """Mark as ended and wake who joins."""
        self.state = State.ENDED
        for task in self.joiners:
            if task.state is State.BLOCKED:
                task.state = State.READY

    def line(self) -> str:
        """Where it stands, in one line."""
        waits = f"waits in gate {self.gate.number}" if self.gate is not None else "waits for a task"
        doing = waits if self.state is State.BLOCKED else self.state.value
        return f"task {self.number} {self.name!r} {doing}, last at {self.where}"


class DetGate:
    """One saturating permit whose every use is a decision."""

    __slots__ = ("_permit", "_runtime", "_waiting", "number")

    def __init__(self, runtime: Scheduler, number: int) -> None:
        self._runtime = runtime
        self._permit = False
        self._waiting: list[DetTask] = []
        self.number = number

    def open(self) -> None:
        """Put the permit there; outside a run (a pool collected later) nothing else."""
        if self._runtime.running:
            self._runtime.step(f"open gate {self.number}")
        self._permit = True
        for task in self._waiting:
            if task.state is State.BLOCKED:
                task.state = State.READY

    def wait(self, timeout: float | None = None) -> bool:
        """Take the permit, or return False after `timeout` virtual seconds."""
        runtime = self._runtime
        task = runtime.step(f"wait in gate {self.number}")
        if not self._permit and timeout is not None and timeout <= 0:
            return False
        self._waiting.append(task)
        try:
            while not self._permit:
                in_time = runtime.block(task, self, timeout)
                if task.spurious:
                    task.spurious = False
                    return True
                if not in_time and not self._permit:
                    return False
        finally:
            self._waiting.remove(task)
            task.gate = None
        self._permit = False
        return True
