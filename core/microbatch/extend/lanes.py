"""Pairs of streams that are lent to one step at a time; a backend's `lanes` may be made of this.

Invariant: a pair is with one step or free, never with two; what is given back is lent again first, so steps
that follow each other get the same pairs. Taking and giving are single operations on a deque, so an interrupt
may cost a pair (a new one is made then) and never lends one twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from microbatch.extend.protocols import Stream, StreamPurpose

__all__ = ["LanePool", "Pair"]

Pair = tuple[Stream, Stream]
"""A compute and a communication stream."""


class LanePool:
    """Lends pairs made by `make(purpose)`, which must give a new stream each time."""

    __slots__ = ("_free", "_make")

    def __init__(self, make: Callable[[StreamPurpose], Stream]) -> None:
        self._make = make
        self._free: dict[Hashable, deque[Pair]] = {}

    @contextmanager
    def lend(self, count: int, device: Hashable = None) -> Iterator[list[Pair]]:
        """`count` pairs of the current device, which `device` names."""
        free = self._free.setdefault(device, deque())
        lent: list[Pair] = []
        try:
            while len(lent) < count:
                try:
                    lent.append(free.pop())
                except IndexError:
                    lent.append((self._make("compute"), self._make("communication")))
            yield lent
        finally:
            free.extend(reversed(lent))
