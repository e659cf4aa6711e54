"""Part files: which are still being written, and which were left by a process that is gone.

Invariant: a part file is removed only if no process on this machine has its number and nobody holds its lock;
in doubt it stays.
"""

from __future__ import annotations

import contextlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from microbatch.host.proc import is_zombie

KEPT = "kept"
"""What a part file is called after where it may stay."""


def lock(descriptor: int) -> bool:
    """Take the file's lock until it is closed or the process ends; False if another process holds it."""
    try:
        fcntl: Any = import_module("fcntl")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # not POSIX, or a file system without locks: the process number decides
        return True
    return True


def remove_abandoned(final: Path) -> None:
    """Remove what runs that were killed left of `final`."""
    prefix = f"{final.name}.part-"
    for part in final.parent.iterdir():
        number = part.name.removeprefix(prefix).removesuffix(".made")
        if part.name.startswith(prefix) and number.isdecimal() and not _alive(int(number)):
            with contextlib.suppress(OSError):
                _remove_unlocked(part)


def remove_kept(final: Path) -> None:
    """Remove what a run that may go on has left of `final`, now that another one has completed it."""
    part = final.with_name(f"{final.name}.part-{KEPT}")
    with contextlib.suppress(OSError):
        _remove_unlocked(part)
        part.with_name(f"{part.name}.journal").unlink(missing_ok=True)


def _remove_unlocked(part: Path) -> None:
    descriptor = os.open(part, os.O_RDWR)
    try:
        if lock(descriptor):
            part.unlink()
    finally:
        os.close(descriptor)


def _alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return not is_zombie(process)
