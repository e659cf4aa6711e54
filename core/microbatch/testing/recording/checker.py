"""The happens-before checker: pairs of conflicting accesses that nothing orders.

Invariant: a trace is reported racy exactly if two entries touch overlapping bytes, one of them writes, and no
chain of program order, stream order, events, synchronizations and host hand-offs leads from one to the other;
the first entry reported is the first that conflicts so. It speaks of the trace it is given: another order of
host threads is another trace. Source: vector clocks as in FastTrack (Flanagan and Freund, PLDI 2009), with
streams as threads.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from microbatch.testing.recording.cells import Cell, Cells, Epoch
from microbatch.testing.recording.clocks import Clock, Clocks
from microbatch.testing.recording.trace import Access, TraceEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Two accesses without an order."""

    first: TraceEntry
    """The one issued first."""
    second: TraceEntry
    """The one that should have waited for it."""
    first_index: int
    """Place of the first in the trace."""
    second_index: int
    """Place of the second in the trace."""
    first_writes: bool
    """Whether the first writes (the second does, where this is False)."""
    second_writes: bool
    """Whether the second writes."""
    block: Hashable
    """The block that both touch."""
    low: int
    """First byte of the block that both touch."""
    high: int
    """Byte after the last."""
    exact: bool
    """False where one side is the bounding range of a strided view: the bytes may then be disjoint."""

    def __str__(self) -> str:
        return (
            f"{_who(self.second)} {_does(self.second, self.second_writes)} bytes {self.low}:{self.high} of "
            f"{self.block} at {self.second.place}, and nothing orders this after "
            f"{_who(self.first)}, which {_does(self.first, self.first_writes)} them at {self.first.place}; "
            f"{remedy_of(self.first, self.second)}"
            + ("" if self.exact else " (ranges are bounds of strided views and may not overlap)")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a trace shows."""

    races: tuple[Race, ...]
    """Conflicts without order, in the order of the trace; one a pair of entries."""
    waits_for_nothing: tuple[TraceEntry, ...]
    """Waits for events that were never recorded: they order nothing."""
    redundant_waits: tuple[TraceEntry, ...]
    """Waits whose order was there already."""


_Conflict = tuple[Epoch, bool, Cell]
"""An access that nothing orders before the one looked at, whether it wrote, and bytes that both touch."""


def check(entries: Sequence[TraceEntry]) -> Findings:
    """Find the races of a trace; 6-12 us an entry."""
    clocks = Clocks()
    blocks: dict[Hashable, Cells] = {}
    races: dict[tuple[int, int], Race] = {}
    nothing: list[TraceEntry] = []
    redundant: list[TraceEntry] = []
    for index, entry in enumerate(entries):
        agent, clock, fresh = clocks.advance(entry)
        if entry.kind == "wait" and not fresh:
            (redundant if clocks.recorded(entry.token) else nothing).append(entry)
        for access in entry.accesses:
            epoch = Epoch(agent, clock[agent], index, access.exact)
            cells = blocks.setdefault(access.block, Cells())
            for conflict in _touch(cells, access, epoch, clock):
                pair = conflict[0].entry, index
                if pair not in races:
                    races[pair] = _race(entries, conflict, epoch, access)
    return Findings(
        races=tuple(races.values()), waits_for_nothing=tuple(nothing), redundant_waits=tuple(redundant)
    )


def _touch(cells: Cells, access: Access, epoch: Epoch, clock: Clock) -> Iterator[_Conflict]:
    """Note the access; yields what it conflicts with."""
    for cell in cells.within(access.low, access.high):
        write = cell.write
        if write is not None and not _ordered(write, clock, epoch):
            yield write, True, cell
        if not access.write:
            cell.reads[epoch.agent] = epoch
            continue
        for read in cell.reads.values():
            if not _ordered(read, clock, epoch):
                yield read, False, cell
        cell.write, cell.reads = epoch, {}


def _ordered(earlier: Epoch, clock: Clock, epoch: Epoch) -> bool:
    return earlier.tick <= clock.get(earlier.agent, 0) or earlier.entry == epoch.entry


def _race(entries: Sequence[TraceEntry], conflict: _Conflict, later: Epoch, access: Access) -> Race:
    earlier, writes, cell = conflict
    return Race(
        first=entries[earlier.entry],
        second=entries[later.entry],
        first_index=earlier.entry,
        second_index=later.entry,
        first_writes=writes,
        second_writes=access.write,
        block=access.block,
        low=cell.low,
        high=cell.high,
        exact=earlier.exact and later.exact,
    )


def _who(entry: TraceEntry) -> str:
    agent = f"host thread {entry.thread}" if entry.kind == "host" else f"stream {entry.stream!r}"
    return agent if entry.ubatch is None else f"{agent} (ubatch {entry.ubatch})"


def _does(entry: TraceEntry, writes: bool) -> str:
    verb = "reuses" if entry.kind == "alloc" else "writes" if writes else "reads"
    return f"{verb} ({entry.label})" if entry.label else verb


def remedy_of(first: TraceEntry, second: TraceEntry) -> str:
    """What would order `second` after `first`."""
    if second.kind == "alloc":
        return (
            f"keep the array until stream {second.stream!r}, which allocated it, has waited for an event "
            f"recorded on stream {first.stream!r} after its last use"
        )
    if first.kind == "host":
        return "hand over between the two threads (a gate, a join) before the second access"
    if second.kind == "host":
        return (
            f"synchronize an event recorded on stream {first.stream!r} after the first access "
            "before the second"
        )
    return (
        f"record an event on stream {first.stream!r} after the first access and let stream "
        f"{second.stream!r} wait for it before the second"
    )
