"""The threads of a pool, and which run has which of them.

Invariant: a worker is idle, or claimed once. A claim is one `dict.setdefault` under a key made before, and a
worker gives itself back. So a caller that is interrupted at any bytecode loses no worker, and there is no
lock that it could keep. Workers know the roster, never the pool: a pool that is dropped is collected, and its
threads end.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Final, Protocol

from microbatch.turns.runtime import Runtime, Task


class Claim(Protocol):
    """Who may have a worker."""

    def work(self, worker: Worker) -> bool:
        """In the thread of `worker`: do what there is to do, if anything; True if the thread must end."""


class Closing:
    """Claims a worker that is to end."""

    __slots__ = ()

    def work(self, worker: Worker) -> bool:
        """End the thread."""
        return True


CLOSING: Final = Closing()
"""The one of its kind."""


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
        self.claims: dict[Worker, Claim] = {}
        """Worker -> who has it; idle ones are not in here."""

    def claim(self, owner: Claim) -> Worker:
        """An idle worker, or a new one; from here on it is the owner's."""
        for worker in self.workers:
            if worker not in self.claims and self.claims.setdefault(worker, owner) is owner:
                return worker
        self.hired += 1
        worker = Worker(self.runtime, f"{self.name}-{self.hired}")
        self.claims[worker] = owner
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
    """What the thread of a worker does: sleep, and do what its claim has for it, until it must end."""
    while not worker.dismissed:
        worker.gate.wait()
        claim = roster.claims.get(worker)
        if claim is not None and claim.work(worker):
            break
        del claim  # a sleeping thread must not keep the arguments of a finished step
    roster.leave(worker)
