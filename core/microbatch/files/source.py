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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from microbatch.errors import ArgumentValueError, InputChangedError, InputFileError, MicrobatchError
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

    @property
    def identity(self) -> list[list[Any]]:
        """What tells this file from another one: where it is, its bytes, and when it was written to last."""
        return [[os.path.realpath(self.path), *self._before]]

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


class Several:
    """Input files that are read one after the other, each by its reader; none is kept open here."""

    def __init__(self, path: Path, paths: Sequence[Path]) -> None:
        """`path` is how the user named them. Raises as `Source` does for each."""
        self.path = path
        self._paths = [Path(os.path.realpath(each)) for each in paths]
        self._before = [_looked_at(each) for each in self._paths]

    @property
    def size(self) -> int:
        """Bytes of all at the start."""
        return sum(size for size, _ in self._before)

    @property
    def identity(self) -> list[list[Any]]:
        """As of one file, for each."""
        return [[str(path), *before] for path, before in zip(self._paths, self._before, strict=True)]

    def check(self) -> None:
        """Raise InputChangedError where one of them is shorter than at the start, or gone."""
        for path, before in zip(self._paths, self._before, strict=True):
            with _refusing(path):
                now = os.stat(path).st_size
            if now < before[0]:
                raise InputChangedError(
                    f"{path} was cut short while it was read: it had {before[0]:,} bytes and has {now:,}; "
                    "run "
                    "again when nobody writes to it"
                )

    @property
    def changed(self) -> bool:
        """Whether somebody wrote to one of them while they were read."""
        found = [os.stat(path) for path in self._paths if path.exists()]
        return [(each.st_size, each.st_mtime_ns) for each in found] != self._before


class StandardInput:
    """What arrives on descriptor 0, once."""

    path = Path("-")
    size = 0
    changed = False

    @property
    def identity(self) -> list[list[Any]]:
        """Refuses: raises ArgumentValueError, since it cannot be read a second time."""
        raise ArgumentValueError("standard input cannot be read again to go on; save it to a file first")

    def check(self) -> None:
        """Nothing that was read can be taken back."""


Origin = Source | Several | StandardInput
"""Where rows come from."""


def _looked_at(path: Path) -> tuple[int, int]:
    """Size and time of the last write of what can be opened."""
    source = Source(path)
    return source._before


@contextmanager
def parsing(source: Origin, remedy: str, name: str = "") -> Iterator[None]:
    """Whatever the reader of a format raises in the block is an InputFileError about `source`, or `name` of
    it.

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
        raise InputFileError(f"{name or source.path} cannot be read ({_reason(error)}); {remedy}") from error


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
