"""Who touched which bytes last, per block.

Invariant: cells are disjoint, sorted, and cover all bytes ever touched; all bytes of a cell have the same
history. It is enough to keep the last write and the last read of each agent since: what is ordered after
those is ordered after everything before them, unless a race was reported already.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Epoch:
    """One access."""

    agent: int
    """Which agent makes it."""
    tick: int
    """When, by the agent's clock."""
    entry: int
    """Place of its entry in the trace."""
    exact: bool
    """Whether its bytes are exact."""


@dataclass(slots=True, eq=False)
class Cell:
    """The history of a run of bytes."""

    low: int
    """First byte."""
    high: int
    """Byte after the last."""
    write: Epoch | None = None
    """The last write."""
    reads: dict[int, Epoch] = field(default_factory=dict)
    """Agent -> its last read since."""


class Cells:
    """The cells of one block."""

    __slots__ = ("_cells", "_lows")

    def __init__(self) -> None:
        self._lows: list[int] = []
        self._cells: list[Cell] = []

    def within(self, low: int, high: int) -> Iterator[Cell]:
        """The cells that make up bytes low to high exactly; splits and adds cells as needed."""
        self._split(low)
        self._split(high)
        place = bisect_left(self._lows, low)
        while low < high:
            cell = self._cells[place] if place < len(self._cells) else None
            if cell is None or cell.low > low:
                end = high if cell is None else min(high, cell.low)
                cell = Cell(low, end)
                self._insert(place, cell)
            yield cell
            low = cell.high
            place += 1

    def _split(self, at: int) -> None:
        place = bisect_right(self._lows, at) - 1
        if place < 0:
            return
        cell = self._cells[place]
        if cell.low < at < cell.high:
            self._insert(place + 1, Cell(at, cell.high, cell.write, dict(cell.reads)))
            cell.high = at

    def _insert(self, place: int, cell: Cell) -> None:
        self._lows.insert(place, cell.low)
        self._cells.insert(place, cell)
