"""Ctrl-C at a chosen bytecode.

A signal handler may run between any two bytecodes of the main thread. A trace function that raises before
bytecode number `at` of our own frames does the same, and can be moved over all of them.
"""

from __future__ import annotations

import dis
import functools
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, ParamSpec, Self

__all__ = ["OUR_PACKAGES", "Interrupt", "in_thread_of_its_own", "strikes"]

P = ParamSpec("P")

OURS = (
    "microbatch/turns/",
    "microbatch/schedules/",
    "microbatch/dbo.py",
    "microbatch/step/progress.py",
    "microbatch_backends/host/",
)
"""Frames that are interrupted, by a part of their file name."""

OUR_PACKAGES = ("/microbatch/", "/microbatch_backends/", "/microbatch_policies/")
"""All frames of ours."""

FINALIZERS = ("__del__", "_close_all", "close", "_closed", "_dropped")
"""Run by the garbage collector, where Python reports an interrupt and goes on."""


HANDLED_AFTER = frozenset(
    dis.opmap[name]
    for name in ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "RESUME", "JUMP_BACKWARD")
    if name in dis.opmap
)
"""Opcodes after which Python runs signal handlers."""


class Interrupt:
    """Raises KeyboardInterrupt before bytecode number `at` of our frames in this thread; 0 only counts.

    `ours` are parts of the names of their files. `as_signals` strikes at the first bytecode from there on
    where a signal handler may run.
    """

    def __init__(self, at: int, ours: Sequence[str] = OURS, *, as_signals: bool = False) -> None:
        self.at = at
        self._as_signals = as_signals
        self._before: dict[FrameType, int] = {}
        """Of each frame of ours: its last opcode."""
        self.ours = tuple(ours)
        self.seen = 0
        """Bytecodes of our frames so far."""

    def __enter__(self) -> Self:
        self._former = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 traces them where some frame wanted it before
        sys.settrace(self._call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(self._former)
        self._before.clear()

    def _call(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename.replace("\\", "/")
        if not any(part in name for part in self.ours) or frame.f_code.co_name in FINALIZERS:
            return None
        frame.f_trace = self._local  # Python 3.13 asks for bytecodes at once only where this is set before
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._local

    def _local(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "opcode":
            self.seen += 1
            if self._due(frame):
                self.at = 0
                raise KeyboardInterrupt
        return self._local

    def _due(self, frame: FrameType) -> bool:
        """Whether to strike before the bytecode that this frame is at."""
        if not self._as_signals:
            return self.seen == self.at
        before = self._before.get(frame)
        self._before[frame] = frame.f_code.co_code[frame.f_lasti]
        return 0 < self.at <= self.seen and before in HANDLED_AFTER


def strikes(step: Callable[[], object], count: int, ours: tuple[str, ...] = OUR_PACKAGES) -> range:
    """About `count` bytecodes of `step` that are spread over it, none in step with its loops."""
    with Interrupt(0, ours) as counting:
        step()
    return range(1, counting.seen + 1, max(1, counting.seen // count) | 1)


def in_thread_of_its_own(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test that uses `Interrupt` in a new thread, and raise what it raised.

    A trace function can strike where no signal handler runs: between an exception's being pushed as "handled"
    and the bytecodes that guard it. The thread then keeps that exception as the context of all later ones; so
    the thread ends.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        raised: list[BaseException] = []

        def body() -> None:
            try:
                test(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                raised.append(error)

        thread = threading.Thread(target=body, name="interrupted test")
        thread.start()
        thread.join()
        if raised:
            raise raised[0]

    return run
