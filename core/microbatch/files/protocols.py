"""What a format of input and a format of output must be able to do.

Invariant: the loop that runs a file's rows knows no format; what it asks is here. A source gives rows in
order, a block at a time, and can leave out those that an earlier run has stored. A sink takes results in the
same order, and can say at any block what it needs to go on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from microbatch.files.inputs import Inputs
from microbatch.files.source import Origin
from microbatch.files.whole_file import WholeFile

Allocate = Callable[[tuple[int, ...], Any], np.ndarray[Any, Any]]
"""`out=` of a wrapper."""


class RowSource(Protocol):
    """The rows of an input."""

    source: Origin
    """Where they come from."""
    rows: int | None
    """How many there are; None where only reading to the end tells."""
    whole: bool
    """Whether all of them may be taken at once: they are mapped, or few."""

    def prepare(self, parameters: Sequence[str] | None) -> None:
        """Choose the columns for a function with these parameters, and look at whatever can be wrong with
        rows.

        None is for who has no function. Raises InputFileError, ArgumentValueError, UnknownNameError.
        """

    def skip(self, rows: int) -> None:
        """Leave out so many rows; before the first `take`."""

    def take(self, rows: int, most_bytes: int | None = None) -> Inputs:
        """At most `rows` further rows, of at most `most_bytes` but one at least; none at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The result of rows that ran in one step."""

    start: int
    """Its first row, counted from the first of the block."""
    rows: int
    """How many."""
    result: Any
    """What the function returned for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows that are stored together. Rows that no piece has failed."""

    start: int
    """The first row, counted from the first of the input."""
    rows: int
    """How many."""
    pieces: Sequence[Piece]
    """In order, without overlap."""
    carried: Mapping[str, Any] = field(default_factory=dict)
    """Input columns that are stored beside the result: name to a sequence of `rows` values."""

    @property
    def text(self) -> str:
        """Which rows these are, for messages."""
        return f"rows {self.start:,} to {self.start + self.rows:,}"


class Sink(Protocol):
    """An output in the making."""

    file: WholeFile
    """Where it will be."""
    whole: bool
    """Whether a result of all rows at once needs no more memory than one of a block."""
    shape: tuple[int, ...] | None
    """What it holds, for the summary; None while nothing was stored."""
    dtype: str
    """Of which type."""

    def expect(self, rows: int | None) -> None:
        """How many rows there will be, if that is known; said once, before the first block."""

    def out(self, start: int, rows: int) -> Allocate | None:
        """Where a step may write the result of these rows; None where it is to return it."""
        ...

    def store(self, block: Block) -> None:
        """Take the next block. Raises OutputFileError for a result that cannot be written to such a file."""

    def state(self) -> Mapping[str, Any]:
        """What `restore` needs to go on from here; plain values of JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what an earlier run has stored. Raises OutputFileError where the part file lacks it."""

    def start_anew(self) -> None:
        """Forget what is in the part file."""

    def flush(self) -> None:
        """Wait until what was stored has reached the disk."""

    def finish(self, make: Callable[[], WholeFile]) -> WholeFile:
        """Complete the output; `commit` of the file that is returned then gives it its name.

        That is `file`, or one that `make` opens, where the part file is not the output itself.
        """
        ...
