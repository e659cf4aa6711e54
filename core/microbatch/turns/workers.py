"""Run functions side by side on threads that live across steps.

Invariant: a run returns when all that it started has ended, or cannot be needed any more. It never waits for
a worker to become idle: it hires one, or does without. So nested runs cannot starve each other.

Rejected: a queue in front of a fixed number of threads (a nested step would never end once all of them wait
for it), and threads started for each step (80-270 us each, and what a framework does in each new thread).
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, field

from microbatch.errors import ClosedError, ThreadStartError, WaitTimeoutError
from microbatch.options.raised import described, is_a, note
from microbatch.turns.gates import Gate
from microbatch.turns.roster import Roster, Worker
from microbatch.turns.runtime import Runtime


class AbandonedError(WaitTimeoutError):
    """The threads of a failed step did not end; they are no longer waited for."""


class Fewer(Struct, frozen=True, kw_only=True):
    """What `run_some` did where it did not run all bodies."""

    bodies: int
    """How many it ran."""
    reason: str
    """Why not more."""


class Run(Struct, eq=False, weakref=True):
    """One call of `WorkerPool.run` or `run_some`."""

    roster: Roster
    """Whose workers it claims."""
    bodies: Sequence[Callable[[], None]]
    """What to run; the caller runs the first."""
    limit: float | None
    """Seconds between two questions whether to give up; None where nobody would answer."""
    give_up: Callable[[], bool] | None
    """Whether those that still run cannot be needed any more."""
    gate: Gate
    """Where the caller waits for the last worker."""
    jobs: dict[Worker, Callable[[], None]] = field(default_factory=dict)
    """Worker -> the body it was given."""
    finished: deque[Worker] = field(default_factory=deque)
    """Workers whose body has ended."""
    errors: deque[BaseException] = field(default_factory=deque)
    """What bodies let through, in the order of their ends."""

    def start(self, *, needed: bool = True) -> Fewer | None:
        """Claim all workers, then give out bodies: where a thread cannot be started, no body has begun.

        Unless all are `needed` it goes on with those that there are, and says so.
        """
        workers, reason = self._claimed(needed=needed)
        for worker, body in zip(workers, self.bodies[1:], strict=False):
            self.jobs[worker] = body
            worker.gate.open()
        return Fewer(bodies=len(workers) + 1, reason=reason) if reason else None

    def _claimed(self, *, needed: bool) -> tuple[list[Worker], str]:
        """Workers, and why they are not as many as there are bodies for them."""
        workers: list[Worker] = []
        for _ in self.bodies[1:]:
            try:
                worker = self.roster.claim(self, needed=needed)
            except ThreadStartError as error:
                if needed:
                    raise
                return workers, str(error).partition(", and")[0]
            if worker is None:
                return workers, "the others are busy with other steps"
            workers.append(worker)
        return workers, ""

    def work(self, worker: Worker) -> bool:
        """For a worker that this run has claimed: run the body that it was given."""
        if worker not in self.jobs:
            return False
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
                names = sorted(worker.name for worker in self.jobs if worker not in self.finished)
                raise AbandonedError(
                    f"the step has failed and {', '.join(names)} still runs {self.limit} s later, so it is no"
                    " longer waited for; make the function return when its siblings fail\n"
                    f"{self.roster.runtime.dump()}"
                )

    def forget(self) -> None:
        """Drop the bodies and their arguments: workers going back to sleep hold this run a moment longer."""
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
            if self.roster.owner(worker) is not self:
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

    def __init__(self, runtime: Runtime, most: int | None = None) -> None:
        """`most` bounds the workers of `run_some`, and how many are kept; None for any number."""
        self._held = [Roster(runtime, most)]
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
        ThreadStartError before any body has begun, WaitTimeoutError after `limit` seconds if `give_up()` says
        that the others cannot be needed any more.
        """
        run = self._new_run(bodies, None if give_up is None else limit, give_up)
        self._carry(run, on_interrupt, needed=True)

    def run_some(
        self, bodies: Sequence[Callable[[], None]], *, on_interrupt: Callable[[BaseException], None]
    ) -> Fewer | None:
        """As `run`, of bodies that are all alike: as many as there are idle threads, or may be new ones.

        None where all of them ran. The first always does.
        """
        return self._carry(self._new_run(bodies), on_interrupt, needed=False)

    def _new_run(
        self,
        bodies: Sequence[Callable[[], None]],
        limit: float | None = None,
        give_up: Callable[[], bool] | None = None,
    ) -> Run:
        roster = self._roster()
        return Run(roster, bodies, limit, give_up, roster.runtime.gate())

    def _carry(
        self, run: Run, on_interrupt: Callable[[BaseException], None] | None, *, needed: bool
    ) -> Fewer | None:
        try:
            fewer = run.start(needed=needed)
            run.bodies[0]()
            run.join()
        except BaseException as error:
            _settle(run, error, on_interrupt)
            run.forget()
            if not run.errors or not is_a(error, Exception):
                _note(error, run.errors)
                run.errors.clear()  # their frames hold the run: a cycle that would keep the batch
                raise
            run.errors.append(error)
            fewer = None
        run.forget()
        run.raise_escaped()
        return fewer

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
                    f" make the function it runs return\n{roster.runtime.dump()}"
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
            roster = self._held[0] = Roster(roster.runtime, roster.most)
        return roster


def _close_all(rosters: list[Roster]) -> None:
    for roster in rosters:
        roster.close()


def _settle(run: Run, error: BaseException, on_interrupt: Callable[[BaseException], None] | None) -> None:
    """Stop the others and wait; after an interrupt meanwhile once more, a second one ends the waiting."""
    if is_a(error, AbandonedError):
        return
    try:
        run.stop(error, on_interrupt)
    except AbandonedError as abandoned:
        note(error, str(abandoned))
    except BaseException as second:
        note(second, f"raised while the threads of a step were being stopped because of {described(error)}")
        try:
            run.stop(second, on_interrupt)
        except BaseException as third:
            left = len(run.jobs) - len(run.finished)
            note(third, f"{left} threads of the step were still running and are no longer waited for")
            raise
        raise


def _note(error: BaseException, all_errors: Iterable[BaseException]) -> None:
    """Tell of the other errors in notes of `error`."""
    for other in all_errors:
        if other is not error:
            note(error, f"another thread of the step raised {described(other)}")
