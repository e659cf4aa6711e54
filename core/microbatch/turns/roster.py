"""The threads of a pool, and which run has which of them.

Invariant: a worker is idle, or claimed once. A claim is one `dict.setdefault` under a key made before, and a
worker gives itself back. So a caller that is interrupted at any bytecode loses no worker, and there is no
lock that it could keep. Workers know the roster, never the pool: the threads of a dropped pool end.

There are at most `most` workers, but for those that a run cannot do without: ubatches that take turns are all
alive at the same time. Such a worker ends when it is given back.
"""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import Protocol

from msgspec import Struct, field

from microbatch.errors import ThreadStartError
from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime, Task

RECHECK = 0.1
"""Seconds after which a worker of a closed roster looks again whether whoever claimed it is gone."""


class Worker(Struct, eq=False):
    """One thread and the gate it sleeps in."""

    gate: Gate
    """Where the thread sleeps; opened when there is something for it to do."""
    name: str
    """The name of the thread."""
    task: Task | None = None
    """The started thread, None before it is known to have started."""
    dismissed: bool = False
    """Whether the thread is to end without looking for work."""


class Owner(Protocol):
    """Whoever claims workers."""

    def work(self, worker: Worker) -> bool:
        """In the thread of `worker`: do what there is to do, if anything; True if it must end."""
        ...


class End:
    """Claims workers that are to end."""

    __slots__ = ("__weakref__",)

    def work(self, worker: Worker) -> bool:
        """Nothing is left to do."""
        return True


END = End()
"""The one of this process."""


class Roster(Struct, eq=False):
    """The workers of one pool in one process, and who has claimed which."""

    runtime: Runtime
    """Starts the threads and makes the gates."""
    most: int | None = None
    """Workers that there may be for runs that can do with fewer, and that are kept; None for any number."""
    process: int = field(default_factory=os.getpid)
    """Where the threads are; a forked child has none of them."""
    closed: bool = False
    """Whether workers end when they are given back."""
    hired: int = 0
    """How many workers there ever were; the last number in a thread's name."""
    workers: list[Worker] = field(default_factory=list)
    """All that have not ended."""
    claims: dict[Worker, weakref.ref[Owner]] = field(default_factory=dict)
    """Worker -> who has it; idle ones are not in here. A claim ends with its owner, at the latest."""

    def claim(self, owner: Owner, *, needed: bool = True) -> Worker | None:
        """An idle worker, or a new one; from here on it is the owner's, while the owner lives.

        None where there are as many as there may be and one more is not `needed`. Raises ThreadStartError
        where no thread can be started.
        """
        for worker in tuple(self.workers):
            if worker not in self.claims and self.take(worker, owner):
                if worker.task is not None:
                    return worker
                self.dismiss(worker)  # an interrupt came while its thread was being started
        if not needed and self._above(len(self.workers)):
            return None
        self.hired += 1
        worker = Worker(self.runtime.gate(), f"microbatch-{self.hired}")
        self.take(worker, owner)
        self.workers.append(worker)
        if not needed and self._surplus(worker):  # another run was faster
            self.dismiss(worker)
            return None
        self._start(worker)
        return worker

    def owner(self, worker: Worker) -> Owner | None:
        """Who has claimed `worker`."""
        claim = self.claims.get(worker)
        return None if claim is None else claim()

    def take(self, worker: Worker, owner: Owner) -> bool:
        """Claim `worker` unless somebody else was faster.

        Two interrupts shortly after each other can end a run before it has given its workers back. So a claim
        is a weak reference, which `dict.pop`, called in C and hence never interrupted, removes with the run.
        That leads back to the claims, so a claim for good has none: closing may make one for a worker that
        has just left, and nobody would take it back.
        """
        end_of = None if owner is END else partial(self.claims.pop, worker)
        claim = weakref.ref(owner, end_of)
        return self.claims.setdefault(worker, claim) is claim

    def _start(self, worker: Worker) -> None:
        try:
            worker.task = self.runtime.spawn(partial(_serve, worker, self), name=worker.name)
        except (RuntimeError, MemoryError) as error:
            self.dismiss(worker)
            text = f"{type(error).__name__}: {error}"
        else:
            return
        # outside of `except`: memory for a thread is no memory of the step's, so nothing is tried again
        raise ThreadStartError(
            f"thread {worker.name!r} cannot be started ({text}), and no ubatch of the step has begun; ask for"
            " fewer ubatches, use driver='greenlets', or allow this user more processes (ulimit -u)"
        )

    def _above(self, place: int) -> bool:
        return self.most is not None and place >= self.most

    def _surplus(self, worker: Worker) -> bool:
        """Whether `worker` is one of those above the number that is kept."""
        if not self._above(len(self.workers) - 1):
            return False
        return worker in self.workers and self._above(self.workers.index(worker))

    def release(self, worker: Worker) -> bool:
        """Make a claimed worker idle again; True if it must end: the roster is closed, or has enough."""
        self.claims.pop(worker, None)
        return (self.closed or self._surplus(worker)) and self.take(worker, END)

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
            if not worker.dismissed:
                self.take(worker, END)
            worker.gate.open()  # also if it is claimed: from now on it looks after itself


def _serve(worker: Worker, roster: Roster) -> None:
    """What the thread of a worker does: sleep, and do what its claim has for it, until it must end."""
    while not worker.dismissed:
        # A run that was given up ends without a word, so a worker of a closed roster has to look.
        worker.gate.wait(RECHECK if roster.closed else None)
        owner = roster.owner(worker)
        if owner is None and roster.closed and roster.take(worker, END):
            break
        if owner is not None and owner.work(worker):
            break
        del owner  # a sleeping thread must not keep the arguments of a finished step
    roster.leave(worker)
