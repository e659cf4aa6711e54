"""A runtime whose every order of events is chosen: the twin of `ThreadRuntime` for tests.

Invariant: one task runs at a time, and another can get in only at an operation of the runtime (spawn, join,
open, wait, point). So code that touches shared state between two operations is checked at that grain; what
happens between them must be safe for other reasons (one bytecode, or the turn). Time is virtual: it moves to
the next limit only when nobody can run, so a test of a 30 s limit takes no time. A deadlock is a table of who
waits where, never a hung test; a task that is still there when the program ends is an error as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence

from microbatch.turns.gates import Gate
from tests.support.deterministic.carriers import carrier_named
from tests.support.deterministic.strategies import Decision, Preemptions, Strategy
from tests.support.deterministic.tasks import DetGate, DetTask, Killed, State

__all__ = ["DeadlockError", "DetRuntime", "LeftBehindError", "LivelockError"]


LONGEST_SCHEDULE = 500
"""Choices that are printed whole; a livelock has thousands."""


class DeadlockError(AssertionError):
    """Nobody could go on."""


class LeftBehindError(AssertionError):
    """The program ended and some of its tasks had not."""


class LivelockError(AssertionError):
    """The program took more steps than allowed."""


class DetRuntime:
    """Runs one program under one schedule."""

    def __init__(
        self,
        strategy: Strategy | None = None,
        *,
        carrier: str = "threads",
        max_steps: int = 20_000,
        eager_timeouts: bool = False,
        spurious: int = 0,
        fault: Callable[[str], None] | None = None,
    ) -> None:
        """`eager_timeouts`: a limit may pass at any time, as one more choice. `spurious`: so many waits
        may return without a permit. `fault` is called at every `point` with its label, and may raise.
        """
        self.decisions: list[Decision] = []
        self.tasks: list[DetTask] = []
        self.dead = False
        self.running = False
        self._strategy: Strategy = strategy or Preemptions()
        self._carrier = carrier_named(carrier)
        self._steps_left = max_steps
        self._eager = eager_timeouts
        self._spurious = spurious
        self._fault = fault
        self._clock = 0.0
        self._gates = 0
        self._verdict: BaseException | None = None
        self._current: DetTask = DetTask(self, 0, "main", self._carrier.adopt())

    def run(self, program: Callable[[], None]) -> None:
        """Run `program` as the main task, and whatever it spawns, to the end.

        Raises what it raises; DeadlockError, LeftBehindError or LivelockError with a table and the schedule;
        an error of the strategy itself as it is.
        """
        main = self.enter()
        try:
            try:
                program()
            finally:
                main.state = State.DRAINING
                self._go_on(main)
            self._check_left()
        except Killed:
            pass
        finally:
            self._end()
        self._raise_first()

    def enter(self) -> DetTask:
        """Make the caller the main task, for use without `run`; `leave` undoes it."""
        main = self._current
        self.tasks.append(main)
        self.running = True
        return main

    def leave(self) -> None:
        """Unwind all other tasks; raises the first error that one of them let through."""
        self._end()
        self._raise_first()

    @property
    def choices(self) -> list[int]:
        """Who was chosen at each decision; feed to `Replay`."""
        return [decision.chosen for decision in self.decisions]

    def schedule(self) -> str:
        """The choices as JSON, to be printed with a failure and replayed."""
        return json.dumps(self.choices)

    def spawn(self, function: Callable[[], None], *, name: str) -> DetTask:
        """A new task, which may run from the next operation on."""
        self.step(f"spawn {name}")
        task = DetTask(self, len(self.tasks), name, None)
        self.tasks.append(task)
        task.place = self._carrier.launch(lambda: self._carry(task, function))
        return task

    def gate(self) -> DetGate:
        """A new gate."""
        self._gates += 1
        return DetGate(self, self._gates)

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._clock

    def current(self) -> Hashable:
        """The number of the running task."""
        return self._current.number

    def point(self, label: str) -> None:
        """A place where another task may get in, and where a fault may strike."""
        self.step(label)
        if self._fault is not None:
            self._fault(label)

    def gather(self, gates: Sequence[Gate]) -> None:
        """Nothing: there are no cores here."""

    def dump(self) -> str:
        """One line a task."""
        return "\n".join(task.line() for task in self.tasks)

    def step(self, label: str) -> DetTask:
        """Let the strategy choose; returns the running task when it is chosen (again)."""
        task = self._current
        if self.dead:
            raise Killed
        task.where = label
        self._steps_left -= 1
        if self._steps_left < 0:
            self._condemn(LivelockError(f"the program did not end in time\n{self._story()}"))
        self._go_on(task)
        return task

    def block(self, task: DetTask, gate: DetGate | None, limit: float | None) -> bool:
        """Park `task` until somebody wakes it; False if its limit passed."""
        task.state, task.gate = State.BLOCKED, gate
        task.deadline = None if limit is None else self._clock + limit
        self._go_on(task)
        expired, task.expired, task.deadline = task.expired, False, None
        return not expired

    def _go_on(self, task: DetTask) -> None:
        following = self._following(task)
        if following is not task:
            self._current = following
            self._carrier.switch(task.place, following.place)
            self._current = task
        if self.dead:
            raise Killed
        task.state = State.READY if task.state is not State.DRAINING else task.state

    def _following(self, task: DetTask) -> DetTask:
        """Who goes on now; the main task, condemned, when nobody can."""
        if self.dead:
            return self.tasks[0]
        ready = [number for number, other in enumerate(self.tasks) if self._ready(other)]
        if not ready:
            return self._when_nobody_is_ready()
        if len(ready) > 1:
            chosen = self._choose(tuple(ready), task.number if task.state is State.READY else None)
        else:
            chosen = ready[0]
        following = self.tasks[chosen]
        if following.state is State.BLOCKED:
            self._wake_early(following)
        return following

    def _ready(self, task: DetTask) -> bool:
        if task.state is State.READY:
            return True
        if task.state is not State.BLOCKED:
            return False
        return (self._eager and task.deadline is not None) or (self._spurious > 0 and task.gate is not None)

    def _wake_early(self, task: DetTask) -> None:
        """A blocked task was chosen: its limit passes now, or it wakes for nothing."""
        if self._eager and task.deadline is not None:
            self._clock = max(self._clock, task.deadline)
            task.expired = True
        else:
            self._spurious -= 1
            task.spurious = True
        task.state = State.READY

    def _choose(self, ready: tuple[int, ...], current: int | None) -> int:
        try:
            chosen = self._strategy.choose(ready, current)
        except BaseException as error:
            self._condemn(error)
            raise
        self.decisions.append(Decision(ready, current, chosen))
        return chosen

    def _when_nobody_is_ready(self) -> DetTask:
        waiting = [task for task in self.tasks if task.state is State.BLOCKED and task.deadline is not None]
        if waiting:
            first = min(waiting, key=lambda task: (task.deadline, task.number))
            self._clock = max(self._clock, first.deadline or 0.0)
            first.expired, first.state = True, State.READY
            return first
        main = self.tasks[0]
        if main.state is not State.DRAINING:
            self._verdict = DeadlockError(f"nobody can go on\n{self._story()}")
            self.dead = True
        return main

    def _condemn(self, verdict: BaseException) -> None:
        """End the run: every task unwinds at its next operation."""
        self._verdict = self._verdict or verdict
        self.dead = True
        raise Killed

    def _check_left(self) -> None:
        if any(task.state is not State.ENDED for task in self.tasks[1:]):
            raise LeftBehindError(f"the program ended and left tasks behind\n{self._story()}")

    def _carry(self, task: DetTask, function: Callable[[], None]) -> object:
        """The life of a spawned task; returns the place that goes on."""
        self._current = task
        try:
            if not self.dead:
                function()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised by `run`
            task.error = error
        task.end()
        try:
            following = self._following(task)
        except Killed:
            following = self.tasks[0]
        self._current = following
        return following.place

    def _raise_first(self) -> None:
        if self._verdict is not None:
            raise self._verdict
        for task in self.tasks:
            if task.error is not None:
                raise task.error

    def _end(self) -> None:
        """Unwind what is left, so that no thread and no suspended frame survives the run."""
        main = self.tasks[0]
        self.dead = True
        for task in self.tasks[1:]:
            if task.state is not State.ENDED:
                self._current = task
                self._carrier.switch(main.place, task.place)
            self._carrier.ended(task.place)
        self._carrier.close()
        self._current = main
        self.running = False

    def _story(self) -> str:
        if len(self.decisions) > LONGEST_SCHEDULE:
            return f"{self.dump()}\nthe last of {len(self.decisions)} choices: {self.choices[-100:]}"
        return f"{self.dump()}\nschedule: {self.schedule()}"
