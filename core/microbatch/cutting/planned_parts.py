"""The parts of a step whose sizes are planned as it goes: each when somebody is about to run it.

Invariant: parts are numbered in row order, each row is in exactly one, and whoever asks for the number of
parts gets the one that the step ends with. Threads ask at the same time and nothing is locked: a part is
planned behind those that are, and where two threads plan the same one, that of the first is taken
(`setdefault`). Rejected: planning again what was planned and not begun, since a thread that finds nothing
to begin meanwhile goes home.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, overload

from microbatch.cutting.slices import UBatchSlice, row_slice


class PlannedParts(Sequence[UBatchSlice]):
    """Those that are planned so far, in row order; it grows at its end."""

    __slots__ = ("_fewest", "_most", "_next_size", "_numbers", "_parts", "_rows")

    def __init__(
        self, rows: int, next_size: Callable[[int], int], *, fewest: int = 1, most: int | None = None
    ) -> None:
        """`next_size(left)` says how many rows the next part has, where `left` are not planned yet.

        None has fewer rows than `fewest`, or more than `most`; where both cannot be, `most` holds.
        """
        self._fewest = fewest
        self._most = rows if most is None else most
        self._rows = rows
        self._next_size = next_size
        self._parts: dict[int, UBatchSlice] = {}
        self._numbers = count()

    def take(self) -> int | None:
        """The number of the next part that nobody has taken; None where all rows are."""
        number = next(self._numbers)
        while number >= len(self._parts) and self._plan_one(self._next_size):
            pass
        return number if number < len(self._parts) else None  # others may have planned the rest meanwhile

    @property
    def complete(self) -> bool:
        """Whether all rows are planned."""
        number = len(self._parts)
        return (self._parts[number - 1].token_slice.stop if number else 0) >= self._rows

    def plan_all(self) -> int:
        """Plan all rows now, in parts of one size; the number of parts that the step then ends with."""
        size = 0 if self.complete else self._next_size(self._rows)
        while self._plan_one(lambda left: min(size, left)):
            pass
        return len(self._parts)

    def _plan_one(self, next_size: Callable[[int], int]) -> bool:
        """Plan the part behind those that are planned, unless another thread does; False where all are."""
        number = len(self._parts)
        start = self._parts[number - 1].token_slice.stop if number else 0
        if start >= self._rows:
            return False
        stop = start + self._whole_end(next_size(self._rows - start), self._rows - start)
        self._parts.setdefault(number, row_slice(start, stop))
        return True

    def _whole_end(self, size: int, left: int) -> int:
        """`size`, or another one where too few of the rows that are `left` would be for the last part."""
        if not 0 < left - size < self._fewest:
            return size
        return left if left <= self._most else max(left - self._fewest, -(-left // 2))

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, number: int) -> UBatchSlice: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[UBatchSlice]: ...

    def __getitem__(self, number: Any) -> Any:
        return self._parts[number] if isinstance(number, int) else list(self)[number]

    def __iter__(self) -> Iterator[UBatchSlice]:
        return map(self._parts.__getitem__, range(len(self._parts)))


class EachOf(Sequence[Any]):
    """What a function says of each part, asked when it is looked at."""

    __slots__ = ("_parts", "_say")

    def __init__(self, parts: Sequence[UBatchSlice], say: Callable[[UBatchSlice], Any]) -> None:
        self._parts = parts
        self._say = say

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: Any) -> Any:
        return self._say(self._parts[number])

    def __iter__(self) -> Iterator[Any]:
        return map(self._say, self._parts)
