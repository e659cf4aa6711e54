"""Threads, waiting and the clock, behind one small protocol.

Invariant: core spawns, waits and reads the clock only here, so that a test can put a deterministic runtime in this
one's place and run the same code under every order of events. A gate holds at most one permit and `wait` takes it
in one step, so a permit is neither lost nor counted twice.

Rejected: `threading.Event` (waiting and clearing are two steps, and a signal given while the GIL is held wakes a
thread that must sleep again: 18-31 us a hand-off against 3 for an eventfd), `Condition` (an interrupted thread can
keep its lock), and a shared lock of any kind around hand-off state.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol, cast

from microbatch.errors import ClosedError

__all__ = ["EventGate", "Gate", "LockGate", "Runtime", "Task", "ThreadRuntime", "default_runtime"]

LONGEST_WAIT = 1_000_000.0
"""Seconds (11 days) above which a limit counts as none; system calls refuse larger numbers."""


class Gate(Protocol):
    """One saturating permit: opening twice is opening once."""

    def open(self) -> None:
        """Put the permit there; never blocks."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Take the permit, waiting up to `timeout` seconds for it (None: for ever); whether it was there."""
        ...


class Task(Protocol):
    """Something that was spawned."""

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; False if `timeout` seconds passed first, True at once in the task itself."""
        ...


class Runtime(Protocol):
    """Everything core may ask of threads and time."""

    def spawn(self, function: Callable[[], None], *, name: str) -> Task:
        """Run `function` concurrently. Raises RuntimeError or MemoryError where no thread can be started."""
        ...

    def gate(self) -> Gate:
        """A new gate without a permit."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never runs backwards."""
        ...

    def current(self) -> Hashable:
        """Who is running: equal for equal threads."""
        ...

    def point(self, label: str) -> None:
        """Nothing in production; in tests a place where the schedule may turn and a fault may strike."""
        ...

    def gather(self, gates: Sequence[Gate]) -> None:
        """Say that those who wait in `gates` take turns with the caller: they lose nothing by sharing a core."""
        ...

    def dump(self) -> str:
        """Where each thread stands, one block of text a thread."""
        ...


class EventGate:
    """A gate on a Linux eventfd, whose counter is reset by the read that takes it.

    The kernel shares the counter with forked children, so a child must not touch it: there `open` does nothing
    and `wait` is an error.
    """

    __slots__ = ("_descriptor", "_poll", "_process", "home")

    def __init__(self) -> None:
        self.home: int | None = None
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._process = os.getpid()
        self._poll = _poll_of(self._descriptor)

    def open(self) -> None:
        """Put the permit there; gives the GIL up around the system call, so the woken thread finds it free."""
        if os.getpid() == self._process:
            os.eventfd_write(self._descriptor, 1)

    def wait(self, timeout: float | None = None) -> bool:
        """Take the permit, or return False after `timeout` seconds."""
        if os.getpid() != self._process:
            raise ClosedError(_forked(self._process))
        limit = None if timeout is None or timeout > LONGEST_WAIT else max(0.0, timeout * 1000)
        if self.home is not None and _current_core() != self.home:
            return self._wait_at_home(self.home, limit)
        return self._wait(limit)

    def _wait_at_home(self, home: int, limit: float | None) -> bool:
        """Sleep on the core of those that take turns, and be free to go anywhere as soon as awake."""
        allowed = os.sched_getaffinity(0)
        if home not in allowed:
            return self._wait(limit)
        try:
            try:
                _move(frozenset((home,)))
                return self._wait(limit)
            finally:
                _move(allowed)
        finally:
            _move(allowed)  # an interrupt may have come just before the first one

    def _wait(self, limit: float | None) -> bool:
        while True:
            try:
                ready = self._poll.poll(limit)
            except RuntimeError:  # two threads wait in this gate: a poll object serves one
                ready = _poll_of(self._descriptor).poll(limit)
            if not ready:
                return False
            try:
                os.eventfd_read(self._descriptor)
            except BlockingIOError:  # the other one was faster
                continue
            return True

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", None)  # an interrupt may come before there is one
        if descriptor is not None:
            os.close(descriptor)


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
            pass  # it was there already

    def wait(self, timeout: float | None = None) -> bool:
        """Take the permit, or return False after `timeout` seconds."""
        if os.getpid() != self._process:
            raise ClosedError(_forked(self._process))
        if timeout is None or timeout > LONGEST_WAIT:
            return self._lock.acquire()
        return self._lock.acquire(timeout=max(0.0, timeout))


class ThreadTask:
    """A started thread."""

    __slots__ = ("_thread",)

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread; nobody can wait for himself, so there the answer is True at once."""
        if self._thread is threading.current_thread():
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()


class ThreadRuntime:
    """The real one: daemon threads, eventfds where there are some, the system's monotonic clock.

    Daemon, because a worker parked at interpreter exit would otherwise keep the process alive for ever.
    """

    __slots__ = ()

    def spawn(self, function: Callable[[], None], *, name: str) -> Task:
        """Start a daemon thread."""
        thread = threading.Thread(target=function, name=name, daemon=True)
        thread.start()
        return ThreadTask(thread)

    def gate(self) -> Gate:
        """An eventfd gate, or a lock gate where there is no eventfd or no descriptor left."""
        if not hasattr(os, "eventfd"):
            return LockGate()
        try:
            return EventGate()
        except OSError:
            return LockGate()

    def monotonic(self) -> float:
        """`time.monotonic`."""
        return time.monotonic()

    def current(self) -> Hashable:
        """The thread's identifier; may be reused after the thread has ended."""
        return threading.get_ident()

    def point(self, label: str) -> None:
        """Nothing."""

    def gather(self, gates: Sequence[Gate]) -> None:
        """Let them sleep on the caller's core.

        Waking a thread on another core costs 30 to 90 us on a virtual machine, on the same core 2. Only the sleep is
        placed: a running thread may go anywhere, so threads that the function starts are not confined.
        """
        home = _current_core()
        for gate in gates:
            if isinstance(gate, EventGate):
                gate.home = home

    def dump(self) -> str:
        """The last frames of every Python thread."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        blocks = []
        for ident, frame in sys._current_frames().items():
            stack = "".join(traceback.format_stack(frame, limit=-6))
            blocks.append(f"thread {names.get(ident, ident)!r}:\n{stack}")
        return "".join(blocks)


def default_runtime() -> Runtime:
    """The runtime of production; it has no state, so each one is as good as another."""
    return ThreadRuntime()


def _core_reader() -> Callable[[], int | None]:
    """The C library's `sched_getcpu` (0.07 us), or a function that knows nothing."""
    try:
        return cast("Callable[[], int | None]", ctypes.PyDLL(None).sched_getcpu)
    except (AttributeError, OSError, TypeError):  # not glibc or musl
        return lambda: None


_current_core = _core_reader()


def _move(cores: AbstractSet[int]) -> None:
    """Confine the calling thread to `cores`; nothing where the system forbids it, since only speed depends on it."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, cores)


def _poll_of(descriptor: int) -> select.poll:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return poll


def _forked(process: int) -> str:
    return (
        f"this step belongs to process {process} and its threads are not in the forked process {os.getpid()};"
        " start a new step in the child"
    )
