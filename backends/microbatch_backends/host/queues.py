"""The worker thread behind a host stream.

Invariant: items run one at a time, in the order they were put. After an item has failed, no item runs until
the error has been raised to somebody; items that were put before that raise never run. So which items run
depends on the order of the calls alone, not on how fast the thread is.

The thread starts with the first item and ends after `idle` seconds without an item, so a queue that nobody
uses any more holds no thread. It takes the queue itself, once it runs: so an interrupt while it is being
started never leaves a queue that is taken by nobody. There is no lock that an interrupted thread could keep.

Rejected: one thread for all streams, because copies would not overlap with compute; a thread that lives as
long as the backend, because backends live as long as the process; and `queue.SimpleQueue`, whose waits the
deterministic runtime cannot see.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Hashable

from microbatch.errors import ThreadStartError
from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime, Task
from microbatch_backends.host.events import Mark


class WorkQueue:
    """An ordered queue with at most one thread, which is a daemon: it never delays the end of the process."""

    def __init__(self, name: str, runtime: Runtime, idle: float = 1.0) -> None:
        self._name = name
        self._runtime = runtime
        self._idle = idle
        self._begin()

    def _begin(self) -> None:
        self._items: deque[Callable[[], object]] = deque()
        self._gates: dict[str, Gate] = {}
        self._server: dict[str, Hashable] = {}
        """One entry while a thread serves the queue: which thread."""
        self._tasks: deque[Task] = deque()
        self._leaving = False
        self._process = os.getpid()
        self.failure: BaseException | None = None

    def run(self, work: Callable[[], object]) -> None:
        """Run `work` after all items put so far."""
        self._put(lambda: self._attempt(work))

    def after(self, mark: Mark) -> None:
        """Make items put from now on wait for `mark` of another queue; an error before it stops them too."""

        def follow() -> None:
            if self.failure is None:
                mark.wait()
                self.failure = mark.error

        self._put(follow)

    def mark(self) -> Mark:
        """A mark behind all items put so far; already finished where none is left, and inside an item."""
        self._renew_after_fork()
        mark = Mark(self._runtime, self._forgive)
        if self._inside():
            mark.finish(None)
        else:
            self._behind(lambda: mark.finish(self.failure))
        return mark

    def stop(self, timeout: float | None = 5.0) -> bool:
        """Run the items put so far and end the thread; False if that took longer than `timeout` seconds.

        A later item starts a new thread.
        """
        if self._process != os.getpid() or self._inside():
            return True
        if self._server:
            self._put(self._leave)
        return all(task.join(timeout) for task in tuple(self._tasks))

    def let_go(self) -> None:
        """Let the thread end after the items put so far.

        For finalizers: waits for nothing and starts nothing, since an interrupt that strikes there is lost.
        """
        gate = self._gates.get("gate")
        if self._process == os.getpid() and self._server and gate is not None:
            self._items.append(self._leave)
            gate.open()

    def _inside(self) -> bool:
        """Whether the calling thread is the one that runs the items."""
        return bool(self._server) and self._server.get("thread") == self._runtime.current()

    def _put(self, item: Callable[[], object]) -> None:
        """Put `item` last, then see to it that a thread serves the queue.

        In this order: an item that was put while no thread could be started, or before an interrupt, is
        served with the next one.
        """
        self._renew_after_fork()
        self._items.append(item)
        self._gate().open()
        self._runtime.point("put")
        if self._server:
            return
        try:
            self._start()
        except BaseException:
            with contextlib.suppress(ValueError):  # a thread has taken it already
                self._items.remove(item)
            raise

    def _start(self) -> None:
        """Start a thread. Where two are started at the same time, the later one finds the queue taken."""
        for task in tuple(self._tasks):
            if task.join(0):
                with contextlib.suppress(ValueError):  # another thread starts one too
                    self._tasks.remove(task)
        try:
            task = self._runtime.spawn(self._serve, name=self._name)
        except (RuntimeError, MemoryError) as error:
            text = f"{type(error).__name__}: {error}"
        else:
            self._tasks.append(task)
            return
        raise ThreadStartError(
            f"thread {self._name!r} cannot be started ({text}), and its work was not taken; use another"
            " schedule than streamed, or allow this user more processes (ulimit -u)"
        )

    def _serve(self) -> None:
        """What the thread does: take the queue if nobody has it, and serve it until nothing is left to do."""
        me = self._runtime.current()
        while self._items and self._server.setdefault("thread", me) == me:
            try:
                self._work_off()
            finally:
                self._gates.clear()  # a queue without a thread holds no descriptor
                # Given up before the last look at the items: whoever puts one later starts a thread.
                self._server.pop("thread", None)
            self._runtime.point("served")

    def _work_off(self) -> None:
        """Run items until none has come for `idle` seconds, or the queue is to be left."""
        gate = self._gate()
        self._leaving = False
        while not self._leaving:
            try:
                item = self._items.popleft()
            except IndexError:
                if not gate.wait(self._idle):
                    return
                continue
            item()
            del item  # else its arrays would live until the next item comes

    def _leave(self) -> None:
        """An item that ends the thread; items behind it start another."""
        self._leaving = True

    def _gate(self) -> Gate:
        """Where the thread sleeps; made on first use."""
        made = self._gates.get("gate")
        return made or self._gates.setdefault("gate", self._runtime.gate())

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            if self.failure is None:
                work()
        except BaseException as error:  # noqa: BLE001 - kept, and raised where the host next waits
            self.failure = error

    def _forgive(self, error: BaseException) -> None:
        """Run items put from now on again, because `error` has been raised to somebody."""

        def clear() -> None:
            if self.failure is error:
                self.failure = None

        self._behind(clear)

    def _behind(self, item: Callable[[], object]) -> None:
        """Run `item` after all items put so far: now where no item is left, or in a forked child."""
        if (self._server or self._items) and self._process == os.getpid():
            self._put(item)
        else:
            item()

    def _renew_after_fork(self) -> None:
        """Begin anew in a forked child, which has no such thread."""
        if self._process != os.getpid():
            self._begin()
