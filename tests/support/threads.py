"""Threads that a block leaves behind, and threads that change places more often than they would."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_thread_left", "switching_often"]


@contextmanager
def no_thread_left(patience: float = 30.0) -> Iterator[None]:
    """Raise AssertionError, naming them, if threads started in the block outlive it by `patience` seconds."""
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before]
    for thread in started:
        thread.join(patience)
    left = [thread.name for thread in started if thread.is_alive()]
    assert not left, f"threads left behind: {', '.join(left)}"


@contextmanager
def switching_often() -> Iterator[None]:
    """Threads change places after a microsecond instead of 5 milliseconds."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
