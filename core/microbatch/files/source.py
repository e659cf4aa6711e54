"""An input file: opened once, a regular file, and what it was when the run began.

Invariant: whatever is wrong with a file is said of the file, with its path, what is wrong and what to do, and
never of the function that was to get its rows. Nothing waits for a FIFO or reads a device: what is no regular
file is refused before it is opened. A file is compared with itself at the end, by size and time of the last
change. Rejected: the time of the last change of the inode too, since renaming a file changes it and no row;
locks, since nobody else asks for them.
"""

from __future__ import annotations

import errno
import os
import stat
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from microbatch.errors import InputChangedError, InputFileError, MicrobatchError
from microbatch.files.places import kind_of_file
from microbatch.options.messages import shorten

LONGEST_REASON = 200
"""Characters of what a reader of a format says; numpy's are up to a paragraph."""


class Source:
    """An open input file. Closed when it is dropped."""

    def __init__(self, path: Path) -> None:
        """Raises InputFileError for what is missing, may not be read, or is no regular file."""
        self.path = path
        with _refusing(path):
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                raise InputFileError(f"{path} is {kind_of_file(found.st_mode)}; name a regular file")
            # does not wait even if somebody has put a FIFO in its place since
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        weakref.finalize(self, os.close, self.descriptor)
        self._before = _state(self.descriptor)
        self._settled: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Bytes at the start."""
        return self._before[0]

    def file(self) -> IO[bytes]:
        """A new file object at the first byte, to be closed by the caller."""
        file = os.fdopen(os.dup(self.descriptor), "rb")
        file.seek(0)
        return file

    def settle(self) -> None:
        """All rows are in memory: later changes of the file are none of ours."""
        self.check()
        self._settled = _state(self.descriptor)

    def check(self) -> None:
        """Raise InputChangedError where the file is shorter than at the start, so that rows are gone."""
        now = self._settled or _state(self.descriptor)
        if now[0] < self._before[0]:
            raise InputChangedError(
                f"{self.path} was cut short while it was read: it had {self._before[0]:,} bytes and has "
                f"{now[0]:,}; run again when nobody writes to it"
            )

    @property
    def changed(self) -> bool:
        """Whether somebody wrote to the file while it was read, so that rows may be of before and after."""
        return (self._settled or _state(self.descriptor)) != self._before


@contextmanager
def parsing(source: Source, remedy: str) -> Iterator[None]:
    """Whatever the reader of a format raises in the block is an InputFileError about `source`.

    The readers (zipfile, NumPy's headers, pyarrow) meet bytes of anybody; a damaged file makes them raise
    errors of every kind.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MicrobatchError:
        raise
    except MemoryError as error:
        raise InputFileError(
            f"{source.path} needs more memory than there is ({_reason(error)}); save the rows as one .npy"
            " file, which is read part by part"
        ) from error
    except Exception as error:
        source.check()
        raise InputFileError(f"{source.path} cannot be read ({_reason(error)}); {remedy}") from error


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except InputFileError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise InputFileError(f"{path} does not exist; name an input file") from None
        if isinstance(error, PermissionError):
            raise InputFileError(f"{path} may not be read by this user; change its permissions") from None
        raise InputFileError(f"{path} cannot be opened ({error.strerror}); name another file") from None


def _state(descriptor: int) -> tuple[int, int]:
    """Size in bytes, and time of the last write in ns."""
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return shorten(text.partition("\n")[0], LONGEST_REASON) or type(error).__name__
