"""The threads of BLAS, shared out among the workers of parallel steps.

Invariant: as of `SharedLimit`, for every BLAS library that is loaded. One that counts its threads for each
thread that calls it (OpenBLAS on top of OpenMP) is left out there: each thread of a step sets its own number.

Without shared limits, with BLAS at 2 threads and 2 workers, a kNN search was 1.9 times as fast as one worker
instead of 2.5 times. threadpoolctl sets the limits; where it is not installed, BLAS keeps its threads.
Looking for the libraries takes 1.5 ms, so it is done again only after modules have been imported; a limit
then costs about 10 us.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from microbatch_backends.host.limits import SharedLimit


class OwnShare:
    """The block in which a thread has its share of what a library counts for each thread.

    It may be left more than once.
    """

    __slots__ = ("__weakref__", "_before", "_libraries", "_workers", "thread")

    def __init__(self, libraries: list[Any], workers: int) -> None:
        self._libraries = libraries
        self._workers = max(1, workers)
        self._before: list[tuple[Any, int]] = []
        self.thread = threading.get_ident()
        """Whose share it is."""

    def __enter__(self) -> None:
        for library in self._libraries:
            self._before.append((library, _number(library)))
            _set_number(library, max(1, _number(library) // self._workers))

    def __exit__(self, *exc_info: object) -> None:
        while self._before:
            _set_number(*self._before[-1])
            self._before.pop()


class BlasThreads(SharedLimit):
    """All BLAS libraries that are loaded in this process; each worker is left its share of their threads."""

    def __init__(self) -> None:
        super().__init__()
        self._found: tuple[int, list[Any]] = (-1, [])
        self._before: dict[str, tuple[Any, int]] = {}
        """Path of a library that is limited -> what sets it, and the number it had."""
        self._shares: weakref.WeakKeyDictionary[OwnShare, None] = weakref.WeakKeyDictionary()

    def read(self) -> int:
        """The most threads that a library uses; 0 where no library is found, or no threadpoolctl."""
        return max(map(_number, self.libraries()), default=0)

    def share(self, workers: int) -> AbstractContextManager[None]:
        """For each thread of a parallel step: its share of the libraries that count for each thread."""
        own = [library for library in self.libraries() if _counts_each_thread(library)]
        if not own:
            return nullcontext()
        share = OwnShare(own, workers)
        self._shares[share] = None
        return share

    def forked(self) -> None:
        """As above; where a thread of a step was forked, its own number too."""
        for share in list(self._shares):
            if share.thread == threading.get_ident():
                share.__exit__()
        super().forked()

    def libraries(self) -> list[Any]:
        """The libraries; looked for anew after modules were imported."""
        modules, libraries = self._found
        if len(sys.modules) != modules:
            modules, libraries = self._found = (len(sys.modules), _libraries())
        return libraries

    def _share(self, threads: int) -> None:
        common = [library for library in self.libraries() if not _counts_each_thread(library)]
        full = {library.filepath: (library, _number(library)) for library in common} | self._before
        share = max(1, max((number for _, number in full.values()), default=1) // threads)
        for path, (library, number) in full.items():
            if number > share or path in self._before:
                self._before[path] = (library, number)  # before it is set: an interrupt may come in between
                _set_number(library, min(number, share))

    def _put_back(self) -> None:
        for path, (library, number) in list(self._before.items()):
            _set_number(library, number)
            del self._before[path]


_OF_THE_PROCESS = BlasThreads()
"""Made while this module is imported, which happens once; a cached function may be called twice at first."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_OF_THE_PROCESS.forked)


def process_blas_limit() -> BlasThreads:
    """The one of this process; all host backends share it, because they share BLAS."""
    return _OF_THE_PROCESS


def _libraries() -> list[Any]:
    try:
        controller = importlib.import_module("threadpoolctl").ThreadpoolController()
    except ImportError:
        return []
    return list(controller.select(user_api="blas").lib_controllers)


def _counts_each_thread(library: Any) -> bool:
    return getattr(library, "threading_layer", "") == "openmp"


def _number(library: Any) -> int:
    return library.get_num_threads() or 1


def _set_number(library: Any, number: int) -> None:
    """Set the library's number, whichever thread does it.

    From 3.8 on, `set_num_threads` of threadpoolctl does nothing for OpenBLAS but in the thread that called it
    first, as it cannot know that threads agree about what they set; here `SharedLimit` sees to that.
    """
    set_it = getattr(library, "_real_set_num_threads", library.set_num_threads)
    set_it(number)
