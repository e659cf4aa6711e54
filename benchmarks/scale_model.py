"""What many files cost on many machines, from what rows, parts, blocks, files and tasks cost on this one.

Invariant: a model. A file is a task of one process: it costs its rows, its parts, its blocks (two waits for
the disk each, for the journal of a run that resumes) and what a file costs at all. Processes share nothing
but a scheduler, which hands out one task after the other, and a file system, which does so many operations
and so many bytes a second. Whichever of these takes longest is the limit. Left out: failures, stragglers,
machines of different speed, and other users of the file system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from microbatch.jobs.block_sizes import BYTES, BlockSizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds, as measured."""

    row: float
    """A row: read, computed and written."""
    part: float
    """A part beyond its rows."""
    block: float
    """A block beyond its parts: it is stored, and the journal says so."""
    file: float
    """A file beyond its blocks: opened, made, given its name."""
    task: float
    """A task, in the scheduler alone."""
    start: float
    """A process, until it can run the first task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The work."""

    rows: int
    """Rows in all."""
    rows_per_file: int
    """Rows of a file, which is a task."""
    rows_per_part: int
    """Rows of a part."""
    input_bytes: int
    """Bytes of a row that comes in."""
    output_bytes: int
    """Bytes of a row that goes out."""

    @property
    def files(self) -> int:
        """How many there are."""
        return math.ceil(self.rows / self.rows_per_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What is assumed of a cluster."""

    count: int = 100
    """Machines."""
    processes: int = 32
    """Processes of each, as fast as one of two on this machine."""
    slower: float = 10.0
    """Times that a file and a wait for the disk take of what they take here, as the disk is shared."""
    operations: float = 5_000.0
    """Operations on names (open, make, rename, remove) that the file system does a second."""
    operations_per_file: float = 9.0
    """Such operations for each file of a run, as counted here."""
    bytes_per_second: float = 10e9
    """What the file system carries, in and out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Seconds of each that may be the limit."""

    computing: float
    """The process that has most files."""
    scheduling: float
    """All tasks, one after the other."""
    names: float
    """All operations on names."""
    carrying: float
    """All bytes."""
    journal: float
    """Share of computing that is blocks: the waits for the disk."""
    start: float
    """The start of processes."""

    @property
    def limit(self) -> str:
        """What takes longest, in words."""
        of = {
            "computing": self.computing,
            "scheduling": self.scheduling,
            "names of files": self.names,
            "bytes of files": self.carrying,
        }
        return max(of, key=lambda name: of[name])

    @property
    def seconds(self) -> float:
        """All of it: the limit hides the others, which go on at the same time."""
        return self.start + max(self.computing, self.scheduling, self.names, self.carrying)


def blocks_of(shape: Shape, costs: Costs) -> int:
    """Blocks of a file, as the loop over an input makes them."""
    sizes, done, blocks = BlockSizes(whole=False, timed=True), 0, 0
    second_per_row = costs.row + costs.part / shape.rows_per_part
    while done < shape.rows_per_file:
        rows = min(sizes.rows, max(1, BYTES // shape.input_bytes), shape.rows_per_file - done)
        sizes.ran(rows, rows * second_per_row, rows * shape.output_bytes)
        done, blocks = done + rows, blocks + 1
    return blocks


def file_seconds(shape: Shape, costs: Costs) -> float:
    """What one process takes for one file."""
    parts = math.ceil(shape.rows_per_file / shape.rows_per_part)
    blocks = blocks_of(shape, costs) * costs.block
    return costs.file + blocks + parts * costs.part + shape.rows_per_file * costs.row


def local_seconds(shape: Shape, costs: Costs, processes: int) -> float:
    """What so many warm processes take on this machine, where nothing else is the limit."""
    each = math.ceil(shape.files / processes) * file_seconds(shape, costs)
    return max(each, shape.files * costs.task)


def predicted(shape: Shape, costs: Costs, machines: Machines) -> Predicted:
    """What the cluster takes."""
    there = replace(costs, file=costs.file * machines.slower, block=costs.block * machines.slower)
    turns = math.ceil(shape.files / (machines.count * machines.processes))
    each = file_seconds(shape, there)
    return Predicted(
        computing=turns * each,
        scheduling=shape.files * costs.task,
        names=shape.files * machines.operations_per_file / machines.operations,
        carrying=shape.rows * (shape.input_bytes + shape.output_bytes) / machines.bytes_per_second,
        journal=blocks_of(shape, there) * there.block / each,
        start=costs.start,
    )
