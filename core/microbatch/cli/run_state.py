"""How far a run is, what it reads and what it writes, for the process that watches over it.

Invariant: what was noted before the working process ended is there afterwards, however it ended: the memory
is shared, and text counts only once all of it is there. Nothing here waits or fails.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch.files.source import Origin
    from microbatch.files.whole_file import WholeFile

SIZE = 1 << 17
"""Bytes; a path of 4,096 characters takes up to 40 KiB when all of them are escaped."""
ROWS, LENGTH, TOLD, DONE, TEXT = 0, 16, 24, 25, 32
"""Where things are: rows done and in all, bytes of text, whether the end was told, exit code, the text."""


@dataclass(frozen=True, slots=True)
class Output:
    """A file in the making."""

    path: str
    """As the user named it."""
    final: str
    """Where it will be, without links."""
    part: str
    """Where it is until then."""
    device: int
    inode: int
    keeps: bool = False
    """Whether what is in the part file may be gone on from."""

    @property
    def begun(self) -> bool:
        """Whether there is something to go on from."""
        try:
            return (
                self.keeps and os.stat(self.part).st_size > 0 and os.stat(f"{self.part}.journal").st_size > 0
            )
        except OSError:
            return False

    @property
    def complete(self) -> bool:
        """Whether the file of that name is this one; it got the name when it was whole."""
        try:
            found = os.stat(self.final)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (self.device, self.inode)


class RunState:
    """One per command; memory that a forked process shares."""

    def __init__(self) -> None:
        self.supervised = False
        """Whether another process sees to it that this one ends when it is asked to."""
        self._memory = mmap.mmap(-1, SIZE)

    def progress(self, done: int, total: int) -> None:
        """`done` of `total` rows are through."""
        struct.pack_into("qq", self._memory, ROWS, done, total)

    @property
    def rows(self) -> tuple[int, int]:
        """Rows that are through, and all."""
        done, total = struct.unpack_from("qq", self._memory, ROWS)
        return done, total

    def tell(self) -> bool:
        """Whether the caller is the first who wants to say how the run ended."""
        first = self._memory[TOLD] == 0
        self._memory[TOLD] = 1
        return first

    def finish(self, code: int) -> None:
        """All is done and said, and what is left is Python's own end."""
        struct.pack_into("BB", self._memory, DONE, 1, code & 0xFF)

    @property
    def finished(self) -> int | None:
        """The exit code of a command that is finished."""
        done, code = struct.unpack_from("BB", self._memory, DONE)
        return code if done else None

    def doing(self, what: str) -> None:
        """What the process is busy with, such as `reading x.npy`."""
        self._note(["doing", what])

    def loses(self, what: str) -> None:
        """What is to be said where the command ends early and writes no file."""
        self._note(["loses", what])

    def reads(self, source: Origin) -> None:
        """The input, as it is at the start."""
        self._note(["reads", str(source.path), source.size])

    def writes(self, file: WholeFile) -> None:
        """A file that will appear once it is whole."""
        self._note(["writes", str(file.path), str(file.final), str(file.part), *file.identity, file.keeps])

    def last(self, kind: str) -> list[Any]:
        """What was noted last of a kind; empty where nothing was."""
        return next((rest for noted, *rest in reversed(list(self._noted())) if noted == kind), [])

    def outputs(self) -> list[Output]:
        """The files that the run writes."""
        return [Output(*rest) for noted, *rest in self._noted() if noted == "writes"]

    def _note(self, line: list[Any]) -> None:
        data = repr(line).encode() + b"\n"  # what is not printable is escaped: line breaks, half characters
        (length,) = struct.unpack_from("q", self._memory, LENGTH)
        end = TEXT + length + len(data)
        if end <= SIZE:
            self._memory[TEXT + length : end] = data
            struct.pack_into("q", self._memory, LENGTH, length + len(data))

    def _noted(self) -> Iterator[list[Any]]:
        from ast import literal_eval  # 9 ms, for a case that is rare; json would have to be imported for both

        (length,) = struct.unpack_from("q", self._memory, LENGTH)
        for line in self._memory[TEXT : TEXT + length].splitlines():
            yield literal_eval(line.decode())
