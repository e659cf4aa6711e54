"""Files that a command writes, known to whoever may have to tidy up from the moment they exist.

Invariant: no signal that asks the command to end comes between the first byte on the disk and the note of it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from microbatch.cli.run_state import RunState
from microbatch.cli.signals import STOPPING
from microbatch.files.whole_file import WholeFile

F = TypeVar("F", bound=WholeFile)


@contextmanager
def in_the_making(make: Callable[[], F], state: RunState) -> Iterator[F]:
    """The file that `make` opens; it is removed at the end of the block unless it was committed."""
    with contextlib.ExitStack() as stack:
        with _signals_held():
            file = make()
            stack.enter_context(file)
            state.writes(file)
        yield file


@contextmanager
def _signals_held() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
