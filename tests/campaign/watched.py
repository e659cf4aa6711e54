"""A child process that runs cases, and what is said of it when it hangs or dies.

Invariant: each question is answered within the limit, or the child is ended and the answer is a failure that
shows where its threads stood. The child and all that it started are one process group, which ends with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.campaign.records import Found, Part

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""
STARTING = 120.0
"""Seconds until it is ready: imports on a busy machine."""


class Watched:
    """One child; a context manager that leaves no process behind."""

    def __init__(self, part: Part, seed: int) -> None:
        self._part = part
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
        self._ready = False
        self.ended = False
        """Whether the child is gone; the next case needs another."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign.child", part.place, part.name, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("MICROBATCH_")},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._child.pid

    def case(self, number: int) -> Found:
        """Run one case."""
        assert self._child.stdin is not None
        if not self._ready:
            found, self._ready = self._answer(STARTING), True
            if self.ended:
                return found
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(f"{number}\n".encode())
            self._child.stdin.flush()
        return self._answer(self._part.limit)

    def finish(self) -> Found:
        """End the child in order; what it has left behind."""
        if self.ended:
            return Found(units={})
        assert self._child.stdin is not None
        self._child.stdin.close()
        return self._answer(self._part.limit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        for pipe in (self._child.stdin, self._child.stdout, self._errors):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._child.wait()

    def _answer(self, limit: float) -> Found:
        assert self._child.stdout is not None
        if not select.select([self._child.stdout], [], [], limit)[0]:
            return self._hung(limit)
        line = self._child.stdout.readline()  # a line is written at once
        if not line:
            return self._died()
        return Found(**json.loads(line))

    def _hung(self, limit: float) -> Found:
        """Ask it where it stands, and end it."""
        self._child.send_signal(signal.SIGUSR1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)  # time to write
        os.killpg(self._child.pid, signal.SIGKILL)
        self.ended = True
        return self._failure(f"hung: no answer within {limit:g} s; it stood at\n{self._said()}")

    def _died(self) -> Found:
        code = self._child.wait()
        self.ended = True
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return self._failure(f"its process ended by {how}\n{self._said()}")

    def _failure(self, text: str) -> Found:
        return Found(units={self._part.unit: 1}, failures=(text,))

    def _said(self) -> str:
        """The end of what it wrote to standard error."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 6000))
        return self._errors.read().decode(errors="replace")
