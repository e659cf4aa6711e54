"""torch's intra-op threads, shared out among the threads of a parallel step.

Invariant: when the last of several overlapping steps has left, every thread that took part, and every new
thread, has the number that was set before the first step. torch keeps a number for each thread and one for
threads to come. A pooled thread that asks for the first time while a step has set "one" would keep that. So
the caller reads the number before any worker starts, and workers put that number back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from microbatch_backends.host.limits import SharedLimit


class IntraOpThreads(SharedLimit):
    """The number of threads one operation may use; steps hold what it was, and their threads take shares."""

    _full = 0

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

    def _enter(self, workers: int) -> None:
        if not self._holders:
            self._full = torch.get_num_threads()

    def _restore(self) -> None:
        torch.set_num_threads(self._full)


process_torch_threads = cache(IntraOpThreads)
"""Gives the only one of this process, since torch has one number for new threads."""
