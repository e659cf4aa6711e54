"""The BLAS threads of this process, shared out while ubatches run side by side.

Invariant: the number of BLAS threads belongs to the process. So the step that enters first remembers it, and
the step that leaves last puts it back, whatever overlaps in between. Otherwise two steps that overlap would
each restore the other's limit and leave BLAS at one thread for good.

Without shared limits, with BLAS at 2 threads and 2 workers, a kNN search was 1.9 times as fast as one worker
instead of 2.5 times. threadpoolctl sets the limits; where it is not installed, BLAS keeps its threads.
Looking for the libraries takes 1.5 ms, so it is done again only after modules have been imported; a limit
then costs about 8 us.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

__all__ = ["BlasThreads", "SharedLimit", "process_blas_limit"]


class Threads(Protocol):
    """A process-wide number of threads."""

    def read(self) -> int:
        """The number now; 0 where it cannot be told."""
        ...

    def limit(self, threads: int) -> None:
        """Use at most `threads` from now on."""
        ...

    def restore(self) -> None:
        """Put back what was there before the first `limit`."""
        ...


class BlasThreads:
    """All BLAS libraries that are loaded in this process."""

    def __init__(self) -> None:
        self._libraries: list[Any] = []
        self._modules = -1
        self._before: list[tuple[Any, int]] = []

    def read(self) -> int:
        """The most threads that a library uses; 0 where no library is found, or no threadpoolctl."""
        return max((library.get_num_threads() or 1 for library in self._found()), default=0)

    def limit(self, threads: int) -> None:
        """Set the libraries that use more than `threads`, and remember their numbers."""
        for library in self._found():
            now = library.get_num_threads() or 1
            if now > threads:
                self._before.append((library, now))
                library.set_num_threads(threads)

    def restore(self) -> None:
        """Undo all limits, the latest first, so that each library ends at the number it had first."""
        while self._before:
            library, threads = self._before.pop()
            library.set_num_threads(threads)

    def _found(self) -> list[Any]:
        if len(sys.modules) != self._modules:
            self._libraries = _libraries()
            self._modules = len(sys.modules)
        return self._libraries


class SharedLimit:
    """A limit that overlapping steps hold together."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._holders = 0

    @contextmanager
    def hold(self, workers: int) -> Iterator[None]:
        """Leave each of `workers` threads its share, until the last holder leaves."""
        self._enter(workers)
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._threads.restore()

    def _enter(self, workers: int) -> None:
        with self._lock:
            now = self._threads.read()
            if now > 1 and workers > 1:
                self._threads.limit(max(1, now // workers))
            self._holders += 1


@cache
def process_blas_limit() -> SharedLimit:
    """The limit of this process; all host backends share it, because they share BLAS."""
    return SharedLimit(BlasThreads())


def _libraries() -> list[Any]:
    try:
        threadpoolctl: Any = importlib.import_module("threadpoolctl")
    except ImportError:
        return []
    found = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return list(found.lib_controllers)
