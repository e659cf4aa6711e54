"""What is done to make room in a step where memory ran out.

Invariant: garbage is collected at most once a step, and only after a second try has failed: with a large heap
a collection takes 0.16 to 0.3 s, and what a failed attempt has freed is back in the pool without it. What the
device has cached is given back as often as it may help. Collecting is core's, never a backend's, as only the
step knows how often it has been done. Rejected: a collection for each part that fails, which took 96 % of the
time of a test whose calls fail.
"""

from __future__ import annotations

import gc
from collections import deque

from microbatch.extend.protocols import Backend


class Room:
    """Makes room for one step; any thread of it may ask."""

    __slots__ = ("_backend", "_token")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._token: deque[None] = deque([None])

    @property
    def collected(self) -> bool:
        """Whether garbage was collected in this step."""
        return not self._token

    def make(self, again: bool) -> None:
        """Give cached memory back; `again` says that a second try has failed, so that garbage may matter."""
        if again and self._take_token():
            gc.collect()
        self._backend.reclaim()

    def _take_token(self) -> bool:
        try:
            self._token.pop()  # atomic: of two threads one collects
        except IndexError:
            return False
        return True
