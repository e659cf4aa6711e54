"""A place for at most one: whoever comes while somebody is inside goes away at once, so nobody waits.

Invariant: of all who come, in whatever order, at most one is inside at a time. Who is inside is a visit, not
a flag: a visit that is over, or that nobody holds any more, is not inside. So a caller who is interrupted at
any bytecode, on the way in or out, keeps nobody out for good, and in the child of a fork nobody is inside.

Who changed something and was sent away may count on whoever was inside to look again after leaving, as
`microbatch_backends/host/limits.py` does. Rejected: a lock, even one that is only tried, and a token in a
deque: a thread that is interrupted between taking it and `try` keeps it for ever, and a fork copies it as
taken.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Final, TypeVar

from microbatch.host.forks import FORKS

Answer = TypeVar("Answer")
NEXT: Final = "next"
"""The one key of `Place.later`."""


class Visit:
    """Somebody who came; nobody but the call of `run` holds it."""

    __slots__ = ("__weakref__",)


class Place(weakref.ref[Visit]):
    """What a visit was given. Each leads to the one given after it, so only the last has to be kept."""

    __slots__ = ("forks", "later", "over")
    # Filled by `_lets_in`: a method for it, and one that asks "is it inside?", cost 4 calls of a step's 120.
    forks: int
    later: dict[str, Place]
    over: bool
    """Whether the visit has ended."""


class AtMostOne:
    """Lets one in at a time; 1 us a call."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = first = Place(Visit())
        """The place that was given last, or one before it for a moment."""
        first.forks, first.later, first.over = FORKS.count, {}, True

    def run(self, work: Callable[[], Answer], otherwise: Callable[[], Answer]) -> Answer:
        """What `work` returns where nobody is inside, else what `otherwise` does; raises what they raise."""
        visit = Visit()
        mine = Place(visit)
        try:
            try:
                chosen = work if self._lets_in(mine) else otherwise
                return chosen()
            finally:
                mine.over = True
        finally:
            mine.over = True  # again: an interrupt may have come just before the first one

    def _lets_in(self, mine: Place) -> bool:
        mine.forks, mine.later, mine.over = FORKS.count, {}, False
        place = self._last
        while True:
            while place.later:  # one that was interrupted below has not said that it is the last
                self._last = place = place.later[NEXT]
            if not place.over and place.forks == FORKS.count and place() is not None:
                return False  # its visit is inside, in this process
            if place.later.setdefault(NEXT, mine) is mine:  # atomic: of several who come here, one is first
                self._last = mine
                return True
