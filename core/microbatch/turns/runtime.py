"""Threads and the clock, behind one small protocol.

Invariant: core starts threads, makes gates and reads the clock only here, so that a test can put a
deterministic runtime in this one's place and run the same code under every order of events. Rejected: a
shared lock of any kind around the state of a hand-off, which a thread that was interrupted could keep.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from microbatch.turns.gates import EventGate, Gate, LockGate, current_core


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

    def point(self, label: str) -> None:
        """Nothing in production; in tests a place where the schedule may turn and a fault may strike."""

    def gather(self, gates: Sequence[Gate]) -> None:
        """Say that who waits in `gates` takes turns with the caller, so that they may well share a core."""

    def dump(self) -> str:
        """Where each thread stands, one block of text a thread."""
        ...


class Started(threading.Event):
    """What `Thread.start` waits for until the thread runs, with a wait that can be interrupted anywhere.

    An interrupt in the wait of an ordinary event can keep its lock: the thread then hangs before its first
    line, or the caller gets "release unlocked lock" in place of the interrupt.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate: Gate | None = gate

    def set(self) -> None:
        """The thread runs."""
        super().set()
        gate = self._gate
        if gate is not None:
            gate.open()

    def wait(self, timeout: float | None = None) -> bool:
        """For the one who starts the thread."""
        gate = self._gate
        while gate is not None and not self.is_set() and gate.wait(timeout):
            pass
        if self.is_set():
            self._gate = None  # its descriptor would live as long as the thread's object
        return self.is_set()


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

    # The two that a step asks most are the C functions themselves: a method around each costs 50 ns a call.
    monotonic = staticmethod(time.monotonic)
    """Seconds of a clock that never runs backwards."""
    current = staticmethod(threading.get_ident)
    """The identifier of the calling thread; may be given again after the thread has ended."""

    def spawn(self, function: Callable[[], None], *, name: str) -> Task:
        """Start a daemon thread."""
        thread = threading.Thread(target=function, name=name, daemon=True)
        thread._started = Started(self.gate())  # type: ignore[attr-defined]
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

    def point(self, label: str) -> None:
        """Nothing."""

    def gather(self, gates: Sequence[Gate]) -> None:
        """Let them sleep on the caller's core, where the system does not take them away again and again.

        Waking a thread on another core costs 15 to 90 us on a virtual machine, on the same core 2. Only the
        sleep is placed: a running thread, and threads that the function starts, may go anywhere.
        """
        core = current_core()
        for gate in gates:
            if isinstance(gate, EventGate):
                gate.sleep_on(core)

    def dump(self) -> str:
        """The last frames of every Python thread."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        return "".join(
            f"thread {names.get(ident, ident)!r}:\n{''.join(traceback.format_stack(frame, limit=-6))}"
            for ident, frame in sys._current_frames().items()
        )


def stack_that_was_set() -> int:
    """Bytes of a new thread's stack, where this process has set them; 0 where the system decides."""
    return threading.stack_size()


def thread_name() -> str:
    """The name of the calling thread."""
    return threading.current_thread().name


def other_threads() -> bool:
    """Whether Python runs threads beside the caller's."""
    return threading.active_count() > 1


def default_runtime() -> Runtime:
    """The runtime of production; it has no state, so each one is as good as another."""
    return ThreadRuntime()
