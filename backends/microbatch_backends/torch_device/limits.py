"""torch's intra-op threads, shared out among the threads of a parallel step.

Invariant: when the last of several overlapping steps has left, every thread that took part, and every new
thread, has the number that was set before the first step. torch keeps a number for each thread and one for
threads to come. A pooled thread that asks for the first time while a step has set "one" would keep that. So
the caller reads the number before any worker starts, and workers put that number back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

__all__ = ["IntraOpThreads", "process_torch_threads"]


class IntraOpThreads:
    """The number of threads one operation may use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._full = 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """For the caller, around a parallel step: remember the number, which the last step sets again."""
        with self._lock:
            if not self._holders:
                self._full = torch.get_num_threads()
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    torch.set_num_threads(self._full)

    @contextmanager
    def share(self, workers: int) -> Iterator[None]:
        """For each thread of a parallel step: use its share of the full number, at least 1."""
        before = torch.get_num_threads()
        full = max(before, self._full) if self._holders else before
        share = max(1, full // max(1, workers))
        if share == before == full:
            yield
            return
        torch.set_num_threads(share)
        try:
            yield
        finally:
            torch.set_num_threads(full)


@cache
def process_torch_threads() -> IntraOpThreads:
    """The only one of this process, since torch has one number for new threads."""
    return IntraOpThreads()
