"""torch's intra-op threads, shared out among the threads of a parallel step.

Invariant: when the last of several overlapping steps has left, every thread that took part, and every new
thread, has the number that was set before the first step; so has a child that was forked inside of one. torch
keeps a number for each thread and one for threads to come. A pooled thread that asks for the first time while
a step has set "one" would keep that. So the caller reads the number before any worker starts, and each thread
puts that number back.
"""

from __future__ import annotations

import os

import torch

from microbatch_backends.host.limits import SharedLimit


class Share:
    """The block in which a thread has its share; it may be left more than once, and without having begun."""

    __slots__ = ("_full", "_limit", "_workers")

    def __init__(self, limit: IntraOpThreads, workers: int) -> None:
        self._limit = limit
        self._workers = max(1, workers)
        self._full = 0

    def __enter__(self) -> None:
        before = torch.get_num_threads()
        full = max(before, self._limit.full())
        share = max(1, full // self._workers)
        if not share == before == full:
            self._full = full  # before it is set: an interrupt may come in between
            torch.set_num_threads(share)

    def __exit__(self, *exc_info: object) -> None:
        if self._full:
            torch.set_num_threads(self._full)
            self._full = 0


class IntraOpThreads(SharedLimit):
    """The number of threads one operation may use; steps hold what it was, and their threads take shares."""

    def __init__(self) -> None:
        super().__init__()
        self._full = 0

    def share(self, workers: int) -> Share:
        """For each thread of a parallel step: use its share of the full number, at least 1."""
        return Share(self, workers)

    def full(self) -> int:
        """The number before the steps that hold this; 0 where none does."""
        return max([self._full, *(hold.before for hold in self.holds())])

    def here(self) -> int:
        """As above, or where none holds this yet, what the calling thread has."""
        # in this order: a step that ends in between has put back what it had before
        return max(self.full(), torch.get_num_threads())

    def forked(self) -> None:
        """For the child of a fork: the calling thread, and those to come, have the full number."""
        self._full = self.full()
        super().forked()

    def _share(self, threads: int) -> None:
        self._full = self.full()  # each thread sets its share itself

    def _put_back(self) -> None:
        if self._full:
            torch.set_num_threads(self._full)
            self._full = 0


_OF_THE_PROCESS = IntraOpThreads()
"""Made while this module is imported, which happens once."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_OF_THE_PROCESS.forked)


def process_torch_threads() -> IntraOpThreads:
    """The only one of this process, since torch has one number for new threads."""
    return _OF_THE_PROCESS
