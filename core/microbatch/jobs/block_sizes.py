"""How many rows are read, run and stored together.

Invariant: a block holds at most `BYTES` of input, and so many rows that its result stays near `BYTES` too, as
those before say. Where a run may have to go on later, a block also takes about `SECONDS`, since that is what
an interrupt loses. The first block is small: it is where a result of the wrong kind is found.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

BYTES = 16 << 20
"""Of a block; parts that stay in a cache are far smaller."""
SECONDS = 2.0
"""Of a block that may have to run again; the two waits for the disk after it are 0.3 % of that."""
FIRST, FIRST_TIMED = 256, 32
"""Rows of the first block; fewer where a row may take seconds."""
GROWTH = 4
"""Times as many rows as the block before, at most."""
SAMPLED = 64
"""Values of a list that are looked at for its size."""
EVERYTHING = 1 << 62


class BlockSizes:
    """Says how large the next block is."""

    def __init__(self, *, whole: bool, timed: bool) -> None:
        """`whole` makes one block of all rows; `timed` keeps blocks near `SECONDS`."""
        self._timed = timed
        self.rows = EVERYTHING if whole else FIRST_TIMED if timed else FIRST
        """Most rows of the next block."""
        self.bytes: int | None = None if whole else BYTES
        """Most bytes of its input."""

    def ran(self, rows: int, seconds: float, result_bytes: int) -> None:
        """A block took so long, and its result so many bytes."""
        most = max(1, rows) * GROWTH
        if self._timed and seconds > 0:
            most = min(most, int(rows * SECONDS / seconds))
        if result_bytes:
            most = min(most, rows * BYTES // result_bytes)
        self.rows = max(1, most)


def bytes_of(value: Any) -> int:
    """About how much memory a result takes; of lists, by some of their values."""
    found = getattr(value, "nbytes", None)
    if isinstance(found, (int, np.integer)):
        return int(found)
    if isinstance(value, dict):
        return sum(map(bytes_of, value.values()))
    if isinstance(value, (list, tuple)) and value:
        some = value[:: max(1, len(value) // SAMPLED)]
        return sum(map(bytes_of, some)) * len(value) // len(some)
    return sys.getsizeof(value, 64)
