"""A part file that grows by frames, from which the output is made when all rows are there.

Invariant: a frame is a length of 8 bytes and as many bytes, written behind what was there. What an earlier
run stored is all frames up to a number of bytes. Formats with a directory at their end (zip, Parquet) cannot
be gone on with after a kill, hence this; it costs writing the result twice, and room for both while the
output is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from microbatch.errors import OutputFileError
from microbatch.files.places import writing
from microbatch.files.whole_file import FULL, WholeFile

HEAD = 8
"""Bytes of a length."""


class Spool:
    """The frames of one part file."""

    def __init__(self, file: WholeFile) -> None:
        self.file = file
        self.size = 0
        """Bytes of all frames."""

    def add(self, *parts: bytes | memoryview) -> None:
        """Write one frame."""
        length = sum(len(part) for part in parts)
        with writing(self.file.path, FULL):
            os.lseek(self.file.descriptor, self.size, os.SEEK_SET)
            for part in (length.to_bytes(HEAD, "little"), *parts):
                write_all(self.file.descriptor, part)
        self.size += HEAD + length

    @contextmanager
    def adding(self) -> Iterator[IO[bytes]]:
        """A file object that takes one frame, whose length is written last."""
        with writing(self.file.path, FULL), os.fdopen(os.dup(self.file.descriptor), "wb") as target:
            target.seek(self.size + HEAD)
            yield target
            length = target.tell() - self.size - HEAD
            target.seek(self.size)
            target.write(length.to_bytes(HEAD, "little"))
        self.size += HEAD + length

    def go_on(self, size: int) -> None:
        """Keep so many bytes. Raises OutputFileError where there are fewer."""
        if os.fstat(self.file.descriptor).st_size < size:
            raise OutputFileError(
                f"{self.file.part} is shorter than its journal says; remove it to begin anew"
            )
        with writing(self.file.path, FULL):
            os.ftruncate(self.file.descriptor, size)
        self.size = size

    def frames(self) -> Iterator[tuple[int, int]]:
        """Where each begins, and its length."""
        at = 0
        while at < self.size:
            length = int.from_bytes(os.pread(self.file.descriptor, HEAD, at), "little")
            yield at + HEAD, length
            at += HEAD + length

    def opened(self) -> IO[bytes]:
        """A file object to read frames with, to be closed by the caller."""
        return os.fdopen(os.dup(self.file.descriptor), "rb")

    def flush(self) -> None:
        """Wait until all frames have reached the disk."""
        with writing(self.file.path, FULL):
            os.fsync(self.file.descriptor)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the system takes at a time."""
    left = memoryview(data).cast("B")
    while left:
        left = left[os.write(descriptor, left) :]
