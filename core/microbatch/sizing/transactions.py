"""Which uses of SQLite are under way, so that a forked child knows what was cut in two.

Invariant: a child of a fork that happened while another thread used SQLite leaves SQLite alone: what its
library locks for the process stays locked there, and nobody is left to unlock it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from microbatch.host.forks import FORKS

Answer = TypeVar("Answer")


class Transactions:
    """Those of this process that are under way, on whatever file."""

    __slots__ = ("_under_way",)

    def __init__(self) -> None:
        self._under_way: dict[object, int] = {}
        """One of them -> the process it is in, as `FORKS` counts them."""

    def run(self, work: Callable[[], Answer]) -> Answer:
        """What `work` returns."""
        one = object()
        try:
            try:
                self._under_way[one] = FORKS.count
                return work()
            finally:
                self._under_way.pop(one, None)
        finally:
            self._under_way.pop(one, None)  # again: an interrupt may have come just before the first one

    def cut_by_fork(self) -> bool:
        """Whether a thread of the parent was in one when this process was forked."""
        return any(forks != FORKS.count for forks in list(self._under_way.values()))


TRANSACTIONS = Transactions()
"""Of the process, as SQLite's own locks are."""
