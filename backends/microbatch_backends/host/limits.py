"""A process-wide number of threads, shared out while ubatches run side by side.

Invariant: such a number belongs to the process. While steps hold the limit it is the share of all their
threads together; once none does it is what it was before the first one, whatever overlapped in between.
Otherwise two steps that overlap would each restore the other's limit and leave the process at one thread for
good.

Who holds is a set of live steps, never a count: a step that is interrupted, or dropped, holds nothing, and
leaving twice is leaving once. In the child of a fork no step holds, since their threads are in the parent.
What is to be set follows from who holds (`settle`), and whoever comes or goes sees to it; so what an
interrupt cut short is done by the next one. Rejected: a lock around counting and setting. An interrupted
thread kept it, or left between counting and setting (BLAS stayed at one thread in 4 of 6 runs); a forked
child found it taken (6 of 60 children hung).
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from functools import partial

from microbatch.turns.at_most_one import AtMostOne


class Hold:
    """One step that holds a limit while it is inside, for a `with` block; it may be left more than once."""

    __slots__ = ("__weakref__", "_limit", "before", "workers")

    def __init__(self, limit: SharedLimit, workers: int) -> None:
        self._limit = limit
        self.workers = max(1, workers)
        """Threads of the step."""
        self.before = 0
        """The number in the calling thread before the step, for a limit that is read there."""

    def __enter__(self) -> None:
        self._limit.join(self)

    def __exit__(self, *exc_info: object) -> None:
        self._limit.leave(self)


class Together:
    """Several such blocks as one."""

    __slots__ = ("_blocks",)

    def __init__(self, *blocks: AbstractContextManager[None]) -> None:
        self._blocks = blocks

    def __enter__(self) -> None:
        for block in self._blocks:
            block.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        for block in self._blocks:
            block.__exit__(None, None, None)


class SharedLimit(ABC):
    """A limit that overlapping steps hold together."""

    def __init__(self) -> None:
        self._holds: dict[weakref.ref[Hold], None] = {}
        self._setting = AtMostOne()
        self._settled: int | None = 0
        """For how many threads the numbers were last set; None while that is not known."""

    def hold(self, workers: int) -> Hold:
        """For the caller, around a step of `workers` threads."""
        return Hold(self, workers)

    def join(self, hold: Hold) -> None:
        """`hold` counts from now on, until it leaves or nobody refers to it any more."""
        self._holds[weakref.ref(hold, self._dropped)] = None
        hold.before = self.here()
        self.settle()

    def leave(self, hold: Hold) -> None:
        """`hold` counts no more; the last to leave puts back what was."""
        self._holds.pop(weakref.ref(hold), None)
        self.settle()

    def settle(self) -> None:
        """Set the numbers for who holds now.

        Where another thread is doing so it is left to that one, which looks again when it is done.
        """
        while (threads := self.threads()) != self._settled:
            if not self._setting.run(partial(self._set, threads), _not_now):
                return

    def threads(self) -> int:
        """Threads of all steps that hold the limit; 0 where none does."""
        return sum(hold.workers for hold in self.holds())

    def holds(self) -> list[Hold]:
        """Those that hold the limit."""
        return [hold for known in list(self._holds) if (hold := known()) is not None]

    def here(self) -> int:
        """The number in the calling thread as it was before all steps; 0 where that says nothing."""
        return 0

    def forked(self) -> None:
        """For the child of a fork: nobody holds, and the numbers are as before all steps."""
        if self._holds or self._settled != 0:
            self._holds.clear()
            self._settled = None
            self.settle()

    def _dropped(self, known: weakref.ref[Hold]) -> None:
        self._holds.pop(known, None)
        self.settle()

    def _set(self, threads: int) -> bool:
        """Share out or put back; True. After an interrupt in here it is to be done once more, by whomever."""
        self._settled = None
        if threads:
            self._share(threads)
        else:
            self._put_back()
        self._settled = threads
        return True

    @abstractmethod
    def _share(self, threads: int) -> None:
        """Leave each of `threads` threads its share, and remember what was there before the first step."""

    @abstractmethod
    def _put_back(self) -> None:
        """Put back what was there before the first step, and forget it. Done once more it does nothing."""


def _not_now() -> bool:
    return False
