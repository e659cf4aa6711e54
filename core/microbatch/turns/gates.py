"""Gates: what one thread waits in and another opens.

Invariant: a gate holds at most one permit and `wait` takes it in one step, so a permit is neither lost nor
counted twice. A gate that a fork carried into a child does nothing there. An interrupt at any moment costs
neither a permit nor a descriptor.

Rejected: moving a thread to its siblings' core before each wait that begins elsewhere. Where a core is idle
the system takes it there again at the next wake, and a hand-off took 24 to 52 us, without moves 16 to 28.
Keeping it there while it runs, too, takes 8 to 9 us; but threads that the function starts would inherit that
one core, for good. Letting whoever opens a gate confine the sleeper takes 14 us and more everywhere.

Rejected too: `threading.Event`, where waiting and clearing are two steps; and a signal given while the GIL is
held wakes a thread that must sleep again at once (18-31 us a hand-off, an eventfd 3). `threading.Condition`:
a thread that is interrupted can keep its lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Protocol, cast

from microbatch.errors import ClosedError

LONGEST_WAIT = 1_000_000.0
"""Seconds (11 days) above which a limit counts as none; system calls refuse larger numbers."""

FIRST_MOVE, MOVE_EVERY = 2, 16
"""Which of the waits that begin on another core move the thread to that of its siblings. Not the first: a
step without yields ends before that pays. Few of the later ones: where the system takes the thread away at
each wake, so many moves cost 1 us of each hand-off, and where it does not, one is enough."""


class Gate(Protocol):
    """One saturating permit: opening twice is opening once."""

    def open(self) -> None:
        """Put the permit there; never blocks."""

    def wait(self, timeout: float | None = None) -> bool:
        """Take the permit, waiting up to `timeout` seconds for it (None: for ever); whether it was there."""
        ...


class EventGate:
    """A gate on a Linux eventfd, whose counter is reset by the read that takes it.

    The kernel shares the counter with forked children: there `open` does nothing and `wait` is an error.
    """

    __slots__ = ("_away", "_core", "_descriptor", "_owner", "_poll", "_process")

    def __init__(self) -> None:
        self.sleep_on(None)
        self._owner = _owned_eventfd()
        self._descriptor = self._owner.fileno()
        self._process = os.getpid()
        self._poll = _poll_of(self._descriptor)

    def open(self) -> None:
        """Put the permit there, in a system call made without the GIL: the woken thread finds that free."""
        if os.getpid() == self._process:
            os.eventfd_write(self._descriptor, 1)

    def sleep_on(self, core: int | None) -> None:
        """Let whoever waits here often sleep on `core`, that of the threads it takes turns with; None: on
        any."""
        self._core, self._away = core, 0

    def wait(self, timeout: float | None = None) -> bool:
        """Take the permit, or return False after `timeout` seconds."""
        if os.getpid() != self._process:
            raise ClosedError(_forked(self._process))
        limit = None if timeout is None or timeout > LONGEST_WAIT else max(0.0, timeout * 1000)
        core = self._core
        if core is not None and current_core() != core and self._is_to_be_moved():
            return self._wait_there(core, limit)
        return self._wait(limit)

    def _is_to_be_moved(self) -> bool:
        """Whether this wait, which begins on another core, is one of those that move the thread."""
        self._away += 1
        return self._away % MOVE_EVERY == FIRST_MOVE

    def _wait_there(self, core: int, limit: float | None) -> bool:
        """Sleep on `core`, and be free to go anywhere as soon as awake."""
        allowed = os.sched_getaffinity(0)
        if core not in allowed:
            return self._wait(limit)
        try:
            try:
                _confine(frozenset((core,)))
                return self._wait(limit)
            finally:
                _confine(allowed)
        finally:
            _confine(allowed)  # again: an interrupt may have come just before the first one

    def _wait(self, limit: float | None) -> bool:
        """Take the permit, or return False after `limit` milliseconds."""
        while True:
            try:
                ready = self._poll.poll(limit)
            except RuntimeError:  # a second thread waits in this gate: a poll object serves one
                ready = _poll_of(self._descriptor).poll(limit)
            if not ready:
                return False
            try:
                os.eventfd_read(self._descriptor)
            except BlockingIOError:  # another waiter took it between the poll and the read
                continue
            return True


class LockGate:
    """A gate on a lock that is held while there is no permit; for systems without eventfd."""

    __slots__ = ("_lock", "_process")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._process = os.getpid()

    def open(self) -> None:
        """Put the permit there."""
        try:
            self._lock.release()
        except RuntimeError:
            pass  # the permit was there already

    def wait(self, timeout: float | None = None) -> bool:
        """Take the permit, or return False after `timeout` seconds."""
        if os.getpid() != self._process:
            raise ClosedError(_forked(self._process))
        if timeout is None or timeout > LONGEST_WAIT:
            return self._lock.acquire()
        return self._lock.acquire(timeout=max(0.0, timeout))


def _core_reader() -> Callable[[], int | None]:
    """The C library's `sched_getcpu` (0.07 us a call), or a function that always says None."""
    try:
        return cast("Callable[[], int | None]", ctypes.PyDLL(None).sched_getcpu)
    except (AttributeError, OSError, TypeError):  # not glibc or musl
        return lambda: None


current_core = _core_reader()
"""The number of the core that the calling thread is on; None where the system does not say."""


def _confine(cores: AbstractSet[int]) -> None:
    """Let the calling thread run on `cores` only; nothing where that is forbidden, as only speed is lost."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, cores)


def _owned_eventfd() -> select.epoll:
    """A new eventfd in an object that closes it; raises OSError where no descriptor is left.

    An epoll object closes its descriptor in C when the last reference goes. A `__del__` in Python can be
    interrupted, and then leaves it open. One `next` makes and wraps it, since signals are handled between
    two calls and never within one; so no interrupt finds a descriptor that nobody owns. It costs 1.2 us.
    """
    made = map(os.eventfd, (0,), (os.EFD_CLOEXEC | os.EFD_NONBLOCK,))
    return next(map(select.epoll.fromfd, made))


def _poll_of(descriptor: int) -> select.poll:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return poll


def _forked(process: int) -> str:
    return (
        f"this step belongs to process {process} and its threads are not in the forked process {os.getpid()};"
        " start a new step in the child"
    )
