"""Which queued work runs next: a drawn order, and the orders that are worst.

Invariant: an order is a value. The same program under the same order does the same, so hypothesis can shrink
it. The default order runs the newest launch first; a starved stream runs only when nothing else can, and then
one item at a time. For two pieces of work that nothing orders, starving the stream of the first runs the
second before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

PURPOSES = ("copy_in", "compute", "communication", "copy_out", "default")


class Order(Protocol):
    """Who picks the work that runs next."""

    def pick(self, decision: int, candidates: Sequence[tuple[int, str]]) -> int:
        """Index of the candidate to run; each is (number of its launch, purpose of its stream)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """How an adversarial device picks among the streams that may go on."""

    starved: str | None = None
    """Purpose of the stream that runs last; "default" is the one that is current where none is active."""
    turns: tuple[tuple[int, int], ...] = ()
    """(number of the decision, which candidate) where the pick is another one than the worst."""
    oldest_first: bool = False
    """Whether the oldest launch goes first instead of the newest."""

    def pick(self, decision: int, candidates: Sequence[tuple[int, str]]) -> int:
        """Index of the candidate to run; each is (number of its launch, purpose of its stream)."""
        for number, choice in self.turns:
            if number == decision:
                return choice % len(candidates)
        free = [index for index, (_, purpose) in enumerate(candidates) if purpose != self.starved]
        rank = min if self.oldest_first else max
        return rank(free or range(len(candidates)), key=lambda index: candidates[index][0])


@dataclass(frozen=True, slots=True)
class SeededOrder:
    """Streams go by drawn priorities, which change never, every seventh decision, or at each.

    Whoever has the highest runs until it must wait. So of two streams that nothing orders, either is far
    ahead of the other under half of the seeds.
    """

    seed: int
    """Which order."""

    def pick(self, decision: int, candidates: Sequence[tuple[int, str]]) -> int:
        """Index of the candidate to run; each is (number of its launch, purpose of its stream)."""
        age = decision // (1 << 30, 7, 1)[self.seed % 3]
        ranks = [zlib.crc32(f"{self.seed} {purpose} {age}".encode()) for _, purpose in candidates]
        return max(range(len(candidates)), key=ranks.__getitem__)


WORST_ORDERS: tuple[WorkOrder, ...] = tuple(WorkOrder(starved=purpose) for purpose in (None, *PURPOSES))
"""Newest first, and each stream starved in turn.

A forgotten wait between two streams fails under one of these.
"""
