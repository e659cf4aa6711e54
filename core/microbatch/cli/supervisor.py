"""The process that watches over the one that works: however that ends, what became of the output is said.

Invariant: the command ends within `GRACE` seconds of the first signal that asks it to, at any point of
native code, and leaves no part file. The working process is forked before anything is imported, so this one
stays small (10 MB; both together take 5 % more time than one did for a run of 0.6 s), and signals are held
back until both have their handlers. Signals reach both in a terminal and this one alone from `kill`, so all
are passed on, and the other takes the second of a kind for the first. Where this process is killed, the
kernel kills the other.

Why a process: a mapped input that is cut short ends the one that reads it with SIGBUS, running out of memory
with SIGKILL, a fault of compiled code with SIGSEGV, and none of these can be told from inside. Rejected:
reading instead of mapping (1.2 to 2 times the time of `2 * x` in parts of 512 KiB to 8 MiB, up to 5 times and
twice the memory where the batch runs whole, and no help against the other two); a thread that watches, since
it needs Python's global lock, which a native call may hold.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from microbatch.cli import endings
from microbatch.cli.exit_codes import SIGNALLED
from microbatch.cli.run_state import RunState
from microbatch.cli.signals import STOPPING, end_quietly
from microbatch.cli.streams import say

GRACE = 0.8
"""Seconds that the working process has to end by itself."""
OTHERS = ("SIGUSR1", "SIGUSR2")
"""Signals that may mean something to the function and are passed on too."""
CURSOR = "\x1b[?25h\n"
"""Shows the cursor again, which a bar hides."""


def can_supervise() -> bool:
    """Whether this system has what it takes."""
    return hasattr(os, "fork") and hasattr(signal, "sigtimedwait")


def supervise(work: Callable[[RunState], int]) -> int:
    """The exit code of `work`, done in a process of its own; or in this one where none can be had."""
    state, heard, parent = RunState(), _heard(), os.getpid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*heard, signal.SIGCHLD})
    try:
        child = os.fork()
    except OSError:  # no more processes, or no memory for one
        child = None
    if child:
        return Supervisor(child, state, heard).wait()
    if child is not None:
        state.supervised = True
        _end_with(parent)
    end_quietly()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return work(state)


class Supervisor:
    """Waits for one process."""

    def __init__(self, child: int, state: RunState, heard: frozenset[signal.Signals]) -> None:
        self._child = child
        self._state = state
        self._waited = {*heard, signal.SIGCHLD}
        self._asked: int | None = None
        self._deadline = float("inf")

    def wait(self) -> int:
        """The exit code of the command."""
        while True:
            number = self._next()
            if number is None:
                os.kill(self._child, signal.SIGKILL)
                os.waitpid(self._child, 0)
                return self._ended(-signal.SIGKILL)
            if number != signal.SIGCHLD:
                self._pass_on(number)
                continue
            child, status = os.waitpid(self._child, os.WNOHANG)
            if child:
                return self._ended(os.waitstatus_to_exitcode(status))

    def _next(self) -> int | None:
        """The next signal; None when the time is up."""
        if self._asked is None:
            return signal.sigwaitinfo(self._waited).si_signo
        left = max(0.0, self._deadline - time.monotonic())
        found = signal.sigtimedwait(self._waited, left)
        return None if found is None else found.si_signo

    def _pass_on(self, number: int) -> None:
        if number in STOPPING and self._asked is None:
            self._asked, self._deadline = number, time.monotonic() + GRACE
        os.kill(self._child, number)  # not reaped yet, so the number is still its own

    def _ended(self, code: int) -> int:
        """The exit code for that of the other process; negative for a signal."""
        endings.remove_parts(self._state)
        if self._state.finished is not None:  # Python's own end may have taken too long, or crashed
            return code if code >= 0 else self._state.finished
        if code - SIGNALLED in STOPPING:  # see `end_quietly`
            return code
        if code >= 0:
            text, code = endings.left(self._state, code)
        elif self._asked is None:
            text, code = endings.died(self._state, -code)
        else:
            text, code = endings.interrupted(self._state), SIGNALLED + self._asked
        if self._state.tell():
            if sys.stderr is not None and sys.stderr.isatty():
                say(CURSOR)
            say(text)
        return code


def _heard() -> frozenset[signal.Signals]:
    """Signals that are waited for: those that are not ignored (nohup ignores SIGHUP)."""
    found = [*map(signal.Signals, STOPPING), *(signal.Signals[name] for name in OTHERS)]
    return frozenset(number for number in found if signal.getsignal(number) is not signal.SIG_IGN)


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, and end now if it has ended."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; of Linux alone
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:
        os._exit(SIGNALLED + signal.SIGKILL)
