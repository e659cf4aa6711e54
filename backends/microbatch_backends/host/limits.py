"""Process-wide numbers of threads, shared out while ubatches run side by side; here those of BLAS.

Invariant: such a number belongs to the process. So the step that enters first remembers it, and the step that
leaves last puts it back, whatever overlaps in between. Otherwise two steps that overlap would each restore
the other's limit and leave the process at one thread for good.

Without shared limits, with BLAS at 2 threads and 2 workers, a kNN search was 1.9 times as fast as one worker
instead of 2.5 times. threadpoolctl sets the limits; where it is not installed, BLAS keeps its threads.
Looking for the libraries takes 1.5 ms, so it is done again only after modules have been imported; a limit
then costs about 8 us.
"""

from __future__ import annotations

import importlib
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


class SharedLimit(ABC):
    """A limit that overlapping steps hold together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0

    @contextmanager
    def hold(self, workers: int) -> Iterator[None]:
        """For the caller, around a step of `workers` threads; the last step to leave puts back what was."""
        with self._lock:
            self._enter(workers)
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._restore()

    @abstractmethod
    def _enter(self, workers: int) -> None:
        """One more step begins; the first when there are no holders yet."""

    @abstractmethod
    def _restore(self) -> None:
        """Put back what was there before the first step."""


class BlasThreads(SharedLimit):
    """All BLAS libraries that are loaded in this process; each worker is left its share of their threads."""

    def __init__(self) -> None:
        super().__init__()
        self._libraries: list[Any] = []
        self._modules = -1
        self._before: list[tuple[Any, int]] = []

    def read(self) -> int:
        """The most threads that a library uses; 0 where no library is found, or no threadpoolctl."""
        return max((library.get_num_threads() or 1 for library in self._found()), default=0)

    def _enter(self, workers: int) -> None:
        """Set the libraries that use more than a share, and remember their numbers."""
        share = max(1, self.read() // max(1, workers))
        for library in self._found():
            now = library.get_num_threads() or 1
            if now > share:
                self._before.append((library, now))
                library.set_num_threads(share)

    def _restore(self) -> None:
        """Undo all limits, the latest first, so that each library ends at the number it had first."""
        while self._before:
            library, threads = self._before.pop()
            library.set_num_threads(threads)

    def _found(self) -> list[Any]:
        if len(sys.modules) != self._modules:
            self._libraries = _libraries()
            self._modules = len(sys.modules)
        return self._libraries


process_blas_limit = cache(BlasThreads)
"""Gives the one of this process; all host backends share it, because they share BLAS."""


def _libraries() -> list[Any]:
    try:
        controller = importlib.import_module("threadpoolctl").ThreadpoolController()
    except ImportError:
        return []
    return list(controller.select(user_api="blas").lib_controllers)
