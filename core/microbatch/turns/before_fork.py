"""A fork waits until no step is importing.

Invariant: a child that is forked while a step runs in another thread can import what that step was importing.
Python keeps a lock for each module that is being imported, and does not renew it in a forked child: a step of
the child that needs the same module would wait for a thread that the child does not have.

Much is imported by the first step that needs it (backends, policies, what a function imports itself), so this
happened in one of some hundred children of a data loader. Rejected: importing all of it with the package,
which would take hundreds of milliseconds; letting go of the lock in the child, which only private names can.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from microbatch.turns.runtime import default_runtime

PATIENCE = 10.0
"""Seconds that a fork waits at most: the import may wait for something that the forking thread has."""
LOOKS = 0.001
"""Seconds between two looks."""
IMPORT = "<frozen importlib._bootstrap>"
"""The file name of the frames of an import."""
OURS = frozenset({"microbatch", "microbatch_backends", "microbatch_policies"})
"""Packages of whose calls imports are waited for."""


def wait_for_imports() -> None:
    """Return when no other thread imports something for us.

    At once where this thread imports too: the others may be waiting for what it imports.
    """
    if any(map(_of_import, _callers(sys._getframe(1)))):
        return
    runtime = default_runtime()
    deadline = runtime.monotonic() + PATIENCE
    while _others_import() and runtime.monotonic() < deadline:
        runtime.gate().wait(LOOKS)


def _others_import() -> bool:
    own = threading.get_ident()
    return any(_imports_for_us(frame) for who, frame in sys._current_frames().items() if who != own)


def _imports_for_us(frame: FrameType) -> bool:
    """Whether one of our frames has called for an import that is on its way."""
    importing = False
    for caller in _callers(frame):
        importing = importing or _of_import(caller)
        if importing and str(caller.f_globals.get("__name__")).partition(".")[0] in OURS:
            return True
    return False


def _of_import(frame: FrameType) -> bool:
    return frame.f_code.co_filename == IMPORT


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    """`frame` and all that called it, the innermost first."""
    while frame is not None:
        yield frame
        frame = frame.f_back


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=wait_for_imports)
