"""The command `microbatch` in processes of its own, as a user starts it, and ways to be unkind to it.

`start` begins a command line in a folder and gives a `Started`; `run` waits for its end as well; `killed`
ends it by a signal after some time. Both give an `Ended`: exit code (negative for a signal), what it wrote to
standard output, and what to standard error. When there is an `Ended`, no process of the command is left: the
one that works and the one that watches over it hold the pipes that were read to their end.

A function that is run tells that it was called by writing the line `ready` to descriptor 2
(`os.write(2, b"ready\\n")`), for which `Started.wait_until_ready` waits. `before` is Python that the child
runs before the command: a limit, signals during an import (`STRIKE`), a disk of its own (`SMALL_DISK`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["SMALL_DISK", "STRIKE", "Ended", "Started", "killed", "part_files", "run", "start"]

PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
{before}
from microbatch.cli.app import main
sys.exit(main())
"""
"""The command; a test run started in the background ignores SIGINT, one under nohup SIGHUP, and its children
would too."""
STRIKE = """
import os
class Strike:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            for number in {numbers!r}:
                os.kill(os.getpid(), number)
sys.meta_path.insert(0, Strike())
"""
"""Signals to the process that imports `module`, at that moment; a template with `module` and `numbers`."""
SMALL_DISK = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
options = b"size={size}"
private = libc.unshare(0x20000) == 0 and libc.mount(None, b"/", None, 0x44000, None) == 0
if not private or libc.mount(b"tmpfs", {folder!r}.encode(), b"tmpfs", 0, options):
    sys.exit("no disk: " + os.strerror(ctypes.get_errno()))
"""
"""A file system of `size` bytes in `folder`, which only this command sees; a template. Needs root on Linux:
else the command ends at once, with `no disk` on standard error."""
LIMIT = 120.0
"""Seconds after which a command counts as hung; it is killed and the test fails."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    """Its exit code; negative for the signal that ended it."""
    out: str
    """What it wrote to standard output."""
    err: str
    """What it wrote to standard error."""


class Started:
    """A command that is running; as a context manager it leaves no process behind."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._heard: list[str] = []

    def wait_until_ready(self) -> None:
        """Read what it says until the function says that it was called."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line == "ready\n":
                return
            self._heard.append(line)
        raise AssertionError(f"it ended before the function was called: {''.join(self._heard)}")

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the command, or as a terminal does to all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(self.process.pid, number)
            else:
                os.kill(self.process.pid, number)

    def end(self, limit: float = LIMIT) -> Ended:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=limit)
        return Ended(self.process.returncode, out or "", "".join(self._heard) + (err or ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGKILL, group=True)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process.wait()


def start(
    folder: Path,
    *words: str,
    before: str = "",
    redirect: str = "",
    env: Mapping[str, str] | None = None,
) -> Started:
    """Start `microbatch WORDS` in `folder`, as the head of a group of processes.

    `redirect` is what a shell would be told: `>&-` closes standard output, `2>/dev/full` fills the other one.
    """
    command = [sys.executable, "-c", PROGRAM.format(before=before), *words]
    if redirect:
        command = ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", *command]
    return Started(
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    )


def run(folder: Path, *words: str, limit: float = LIMIT, **how: Any) -> Ended:
    """The end of `microbatch WORDS` in `folder`; `how` as in `start`."""
    with start(folder, *words, **how) as started:
        return started.end(limit)


def killed(folder: Path, *words: str, number: int, after: float, group: bool = False, **how: Any) -> Ended:
    """The end of a command that gets the signal `number` after so many seconds, unless it has ended by then.

    Afterwards the output must be as it was or whole, and after SIGKILL alone there may be `part_files`, which
    the next run removes.
    """
    with start(folder, *words, **how) as started:
        try:
            return started.end(after)
        except subprocess.TimeoutExpired:
            started.send(number, group=group)
        return started.end()


def part_files(folder: Path) -> list[str]:
    """Names of files in the making that were left behind."""
    return sorted(path.name for path in folder.iterdir() if ".part-" in path.name)
