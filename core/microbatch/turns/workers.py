"""Threads that live across steps.

Invariant: a worker is idle, or claimed by exactly one run. A claim is one `dict.setdefault` under a key made
before, and a worker gives itself back. So a caller that is interrupted at any bytecode loses no worker, and
there is no lock that it could keep. A run never waits for a worker to become idle but hires one, so nested
runs cannot starve each other. Workers know the roster, never the pool: a pool that is dropped is collected,
and its threads end.

Rejected: a queue in front of a fixed number of threads (a nested step would never end once all of them wait
for it), and threads started for each step (80-270 us each, and what a framework does when a thread first uses
it).
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from microbatch.errors import ClosedError, WaitTimeoutError
from microbatch.turns.runtime import Runtime, Task

__all__ = ["WorkerPool"]


class AbandonedError(WaitTimeoutError):
    """The threads of a failed step did not end; they are no longer waited for."""


CLOSING = object()
"""Claims a worker in place of a run: the worker is to end."""


class Worker:
    """One thread and the gate it sleeps in."""

    __slots__ = ("dismissed", "gate", "name", "task")

    def __init__(self, runtime: Runtime, name: str) -> None:
        self.gate = runtime.gate()
        """Where the thread sleeps; opened when there is something for it to do."""
        self.name = name
        """The name of the thread."""
        self.task: Task | None = None
        """The started thread, None before it is known to have started."""
        self.dismissed = False
        """Whether the thread is to end without looking for work."""


class Roster:
    """The workers of one pool in one process, and who has claimed which."""

    __slots__ = ("claims", "closed", "hired", "name", "process", "runtime", "workers")

    def __init__(self, runtime: Runtime, name: str) -> None:
        self.runtime = runtime
        """Starts the threads and makes the gates."""
        self.name = name
        """How the names of the threads begin."""
        self.process = os.getpid()
        """Where the threads are; a forked child has none of them."""
        self.closed = False
        """Whether workers end when they are given back."""
        self.hired = 0
        """How many workers there ever were; the last number in a thread's name."""
        self.workers: list[Worker] = []
        """All that have not ended."""
        self.claims: dict[Worker, object] = {}
        """Worker -> the run that has it, or CLOSING; idle ones are not in here."""

    def claim(self, run: Run) -> Worker:
        """An idle worker, or a new one; from here on it is the run's."""
        for worker in self.workers:
            if worker not in self.claims and self.claims.setdefault(worker, run) is run:
                return worker
        self.hired += 1
        worker = Worker(self.runtime, f"{self.name}-{self.hired}")
        self.claims[worker] = run
        self.workers.append(worker)
        worker.task = self.runtime.spawn(partial(_serve, worker, self), name=worker.name)
        return worker

    def release(self, worker: Worker) -> bool:
        """Make a claimed worker idle again; True if the roster is closed, so that the worker must end."""
        self.claims.pop(worker, None)
        return self.closed and self.claims.setdefault(worker, CLOSING) is CLOSING

    def dismiss(self, worker: Worker) -> None:
        """Give up a worker whose thread may or may not have been started."""
        worker.dismissed = True
        self.leave(worker)
        worker.gate.open()

    def leave(self, worker: Worker) -> None:
        """Take a worker off the list; twice is once."""
        if worker in self.workers:
            self.workers.remove(worker)
        self.claims.pop(worker, None)

    def close(self) -> None:
        """Make idle workers end now, busy ones when they finish; never blocks. Nothing in a forked child."""
        if self.process != os.getpid():
            return
        self.closed = True
        for worker in list(self.workers):
            if self.claims.setdefault(worker, CLOSING) is CLOSING:
                worker.gate.open()


def _serve(worker: Worker, roster: Roster) -> None:
    """What a worker's thread does: sleep, run what its claim has for it, give itself back."""
    while not worker.dismissed:
        worker.gate.wait()
        run = roster.claims.get(worker)
        if run is CLOSING:
            break
        if isinstance(run, Run) and worker in run.jobs and run.work(worker):
            break
        del run  # the arguments of a finished step must not live in a sleeping thread
    roster.leave(worker)


class Run:
    """One call of `WorkerPool.run`."""

    __slots__ = ("bodies", "errors", "finished", "gate", "give_up", "jobs", "limit", "roster")

    def __init__(
        self,
        roster: Roster,
        bodies: Sequence[Callable[[], None]],
        limit: float | None = None,
        give_up: Callable[[], bool] | None = None,
    ) -> None:
        self.roster = roster
        """Whose workers it claims."""
        self.bodies = bodies
        """What to run; the caller runs the first."""
        self.limit = None if give_up is None else limit
        """Seconds between two questions whether to give up; None where nobody would answer."""
        self.give_up = give_up
        """Whether those that still run cannot be needed any more."""
        self.gate = roster.runtime.gate()
        """Where the caller waits for the last worker."""
        self.jobs: dict[Worker, Callable[[], None]] = {}
        """Worker -> the body it was given."""
        self.finished: deque[Worker] = deque()
        """Workers whose body has ended."""
        self.errors: deque[BaseException] = deque()
        """What bodies let through, in the order of their ends."""

    def start(self) -> None:
        """Claim all workers, then give out bodies: where a thread cannot be started, no body has begun."""
        workers = [self.roster.claim(self) for _ in self.bodies[1:]]
        for worker, body in zip(workers, self.bodies[1:], strict=True):
            self.jobs[worker] = body
            worker.gate.open()

    def work(self, worker: Worker) -> bool:
        """In the worker: run its body. True if the worker must end."""
        try:
            self.jobs[worker]()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self.errors.append(error)
        # Given back before it counts as finished: the caller's next run then finds it idle and hires nobody.
        ending = self.roster.release(worker)
        self.finished.append(worker)
        if len(self.finished) >= len(self.jobs):
            self.gate.open()
        return ending

    def join(self) -> None:
        """Wait for every body that a worker was given; raises AbandonedError once it is time to give up."""
        while len(self.finished) < len(self.jobs):
            if not self.gate.wait(self.limit) and self.give_up is not None and self.give_up():
                raise AbandonedError(self._stuck())

    def _stuck(self) -> str:
        names = ", ".join(sorted(worker.name for worker in self.jobs if worker not in self.finished))
        return (
            f"the step has failed and {names} still runs {self.limit} s later, so it is no longer waited for;"
            f" make the function return when its siblings fail\n{self.roster.runtime.dump()}"
        )

    def forget(self) -> None:
        """Drop the bodies and their arguments: a worker that goes back to sleep holds this run a moment longer."""
        if len(self.finished) >= len(self.jobs):
            self.bodies, self.give_up = (), None
            self.jobs.clear()

    def raise_escaped(self) -> None:
        """Raise the first error that a body let through, if one did, and keep none of them."""
        if not self.errors:
            return
        first = self.errors[0]
        _note(first, self.errors)
        self.errors.clear()
        try:
            raise first
        finally:
            del first

    def stop(self, error: BaseException, on_interrupt: Callable[[BaseException], None] | None) -> None:
        """The caller's part ended with `error`: make the others end, give back who got no body, and wait."""
        if on_interrupt is not None:
            on_interrupt(error)
        for worker in list(self.roster.workers):
            if self.roster.claims.get(worker) is not self:
                continue
            if worker.task is None:
                self.roster.dismiss(worker)
            elif worker in self.jobs:
                worker.gate.open()  # the interrupt may have come between giving the body and opening
            elif self.roster.release(worker):
                worker.gate.open()
        self.join()


class WorkerPool:
    """Runs bodies side by side, the caller taking the first; keeps the threads for the next time."""

    def __init__(self, runtime: Runtime, *, name: str = "microbatch") -> None:
        self._runtime = runtime
        self._name = name
        self._held: list[Roster] = [Roster(runtime, name)]
        self._finalizer = weakref.finalize(self, _close_all, self._held)

    def run(
        self,
        bodies: Sequence[Callable[[], None]],
        *,
        on_interrupt: Callable[[BaseException], None] | None = None,
        limit: float | None = None,
        give_up: Callable[[], bool] | None = None,
    ) -> None:
        """Run all `bodies` at the same time and return when all have finished.

        `bodies[0]` runs in the caller. Bodies should catch their own errors. The first that one lets through
        is raised here when all have finished, with the others in its notes. Where the caller's part ends with
        an error (an interrupt, its own body, a thread that cannot be started), `on_interrupt` is called with
        it, and must make the others end; they are waited for after that. Raises ClosedError after `shutdown`,
        and WaitTimeoutError where the caller has waited `limit` seconds for the others and `give_up()` says
        that they cannot be needed any more.
        """
        run = Run(self._roster(), bodies, limit, give_up)
        try:
            run.start()
            bodies[0]()
            run.join()
        except BaseException as error:
            _settle(run, error, on_interrupt)
            run.forget()
            if not run.errors or not isinstance(error, Exception):
                _note(error, run.errors)
                run.errors.clear()  # their frames hold the run, which holds them: a cycle with the batch in it
                raise
            run.errors.append(error)
        run.forget()
        run.raise_escaped()

    def shutdown(self, timeout: float | None = 30.0) -> None:
        """End the threads, and wait up to `timeout` seconds for each that still works; no `run` after this.

        A second call changes nothing. Raises WaitTimeoutError naming the first thread that did not end.
        """
        roster = self._held[0]
        roster.close()
        roster.closed = True  # in a forked child too, where `close` does nothing
        if roster.process != os.getpid():
            return
        for worker in list(roster.workers):
            if worker.task is not None and not worker.task.join(timeout):
                raise WaitTimeoutError(
                    f"thread {worker.name!r} did not end within {timeout} s of shutdown;"
                    f" make the function it runs return\n{self._runtime.dump()}"
                )

    @property
    def num_threads(self) -> int:
        """Workers there are now, idle or not, the callers not counted."""
        roster = self._held[0]
        return len(roster.workers) if roster.process == os.getpid() else 0

    def _roster(self) -> Roster:
        roster = self._held[0]
        if roster.closed:
            raise ClosedError("the workers were shut down; make a new wrapper")
        if roster.process != os.getpid():
            roster = self._held[0] = Roster(self._runtime, self._name)
        return roster


def _close_all(rosters: list[Roster]) -> None:
    for roster in rosters:
        roster.close()


def _settle(run: Run, error: BaseException, on_interrupt: Callable[[BaseException], None] | None) -> None:
    """Stop the others and wait; a first interrupt meanwhile makes this begin again, a second ends the waiting."""
    if isinstance(error, AbandonedError):
        return
    try:
        run.stop(error, on_interrupt)
    except AbandonedError as abandoned:
        error.add_note(str(abandoned))
    except BaseException as second:
        second.add_note(f"raised while the threads of a step were being stopped because of {error!r}")
        try:
            run.stop(second, on_interrupt)
        except BaseException as third:
            left = len(run.jobs) - len(run.finished)
            third.add_note(f"{left} threads of the step were still running and are no longer waited for")
            raise
        raise


def _note(error: BaseException, all_errors: Iterable[BaseException]) -> None:
    """Tell of the other errors in notes of `error`."""
    for other in all_errors:
        if other is not error:
            error.add_note(f"another thread of the step raised {type(other).__name__}: {other}")
