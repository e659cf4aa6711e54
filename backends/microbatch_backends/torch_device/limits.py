"""torch's intra-op threads, shared out among the threads of a parallel step.

Invariant: after the last of the overlapping steps has left, every thread that took part and every new one has the
number that was set before the first. torch keeps the number twice, per thread and for threads to come, so a pooled
thread that first asks while another runs with one thread would learn "one" for good; hence the number is taken in
the caller before any worker starts, and workers put that back.
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
        """Around a parallel step, in the caller: remember the number to go back to."""
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
        """In each thread of a parallel step: a share of the full number, at least 1."""
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
    """The one of this process, as torch has one default for new threads."""
    return IntraOpThreads()
