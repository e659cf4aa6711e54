"""The BLAS threads of this process, shared out while ubatches run side by side.

Invariant: the number of BLAS threads belongs to the process, so who enters first remembers it and who leaves last
puts it back, whatever overlaps in between. Without this, two steps that overlap restore each other's limit and leave
BLAS at one thread for good. With BLAS at 2 threads and 2 workers, a kNN search gained 1.9x instead of 2.5x.

Needs threadpoolctl; where that is not installed BLAS keeps its threads. Looking for the libraries takes 1.5 ms, so
it is done again only when modules have been imported since; a limit then costs about 8 us.
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
        """The most threads any of them uses; 0 without one, and without threadpoolctl."""
        return max((library.get_num_threads() or 1 for library in self._found()), default=0)

    def limit(self, threads: int) -> None:
        """Set those that use more than `threads`; a library is remembered once, with its first number."""
        for library in self._found():
            now = library.get_num_threads() or 1
            if now > threads:
                self._before.append((library, now))
                library.set_num_threads(threads)

    def restore(self) -> None:
        """Undo in reverse order, so that the first number remembered is the one that stays."""
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
    """The one limit of this process; every host backend shares it, since BLAS is shared too."""
    return SharedLimit(BlasThreads())


def _libraries() -> list[Any]:
    try:
        threadpoolctl: Any = importlib.import_module("threadpoolctl")
    except ImportError:
        return []
    found = threadpoolctl.ThreadpoolController().select(user_api="blas")
    return list(found.lib_controllers)
