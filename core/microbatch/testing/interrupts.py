"""Ctrl-C at a chosen bytecode.

A signal handler may run between any two bytecodes of the main thread. A trace function that raises before bytecode
number `at` of our own frames does the same, and can be moved over all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupt"]

OURS = ("microbatch/turns/", "microbatch/schedules/", "microbatch/dbo.py")
"""Frames that are interrupted, by a part of their file name."""

FINALIZERS = ("__del__", "_close_all", "close")
"""Run by the garbage collector, where Python reports an interrupt and goes on."""


class Interrupt:
    """Raises KeyboardInterrupt before bytecode number `at` of our frames in this thread; 0 only counts."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0
        """Bytecodes of our frames so far."""

    def __enter__(self) -> Self:
        self._former = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.settrace(self._former)

    def _call(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename.replace("\\", "/")
        if not any(part in name for part in OURS) or frame.f_code.co_name in FINALIZERS:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._local

    def _local(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "opcode":
            self.seen += 1
            if self.seen == self.at:
                raise KeyboardInterrupt
        return self._local
