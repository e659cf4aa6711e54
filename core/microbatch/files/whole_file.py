"""A file that appears under its name only when it is whole.

Invariant: bytes go to `NAME.part-PID` in the same folder, and only `commit` gives them the name, in one step
and after they have reached the disk. Until then, and whenever something fails, what stood under the name
stays. The new file has the permissions of the one that it replaces, from the first byte on, and its owner and
group where the system allows that. Where the name is a link, the file that it leads to is replaced and the
link stays; further names of the old file (hard links) keep the old content. A part file whose process is gone
(SIGKILL, power) is removed by the next run; the lock on it tells a process of another machine from one that
is gone.

A file that `keeps` its part has the same part file in every run, `NAME.part-kept`, and it stays when a run
ends early, once `begun` says that something in it is worth going on from.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from microbatch.errors import OutputFileError
from microbatch.files.part_files import KEPT, lock, remove_abandoned
from microbatch.files.places import check_place, file_there, writing

MADE = ".made"
"""The mark of a file that is made of a part file once that is complete."""
FULL = "free space, or choose another folder"
"""What to do where a disk is full."""


class WholeFile:
    """A file in the making; as a context manager it leaves nothing behind without `commit`."""

    def __init__(
        self, path: Path, kinds: Sequence[str], done: str = "written", *, keeps: bool = False, mark: str = ""
    ) -> None:
        """`kinds` are the suffixes that can be `done`. Raises OutputFileError if `path` cannot be written,
        and where it `keeps` its part and another process is writing that. `mark` tells two part files of one
        process apart."""
        self.path = path
        self.committed = False
        self.keeps = keeps
        """Whether the part file may stay for the next run."""
        self.replaces = True
        """Whether `commit` may replace a file of that name."""
        self.begun = False
        """Whether it holds something to go on from."""
        replaced = check_place(path, kinds, done) if not mark else _stat(path)
        self.size = 0
        """Bytes of the file, from `commit` on."""
        self.final = Path(os.path.realpath(path))
        """Where it will be: without links, and wherever the process changes its folder to."""
        self.part = self.final.with_name(f"{self.final.name}.part-{KEPT if keeps else os.getpid()}{mark}")
        """Where the bytes are until `commit`."""
        with writing(path, "choose a folder that this user may write to"):
            remove_abandoned(self.final)
            self._descriptor = _opened(self.part, replaced) if keeps else _new(self.part, replaced)
        if not lock(self._descriptor) and keeps:
            self._close()
            raise OutputFileError(f"{path} is being written by another run; wait for its end, or stop it")
        found = os.fstat(self._descriptor)
        self.identity = (found.st_dev, found.st_ino)
        """Device and inode: the file of that name is this one, and whole, once it has these."""

    @property
    def descriptor(self) -> int:
        """The open part file."""
        return self._descriptor

    def write(self, data: bytes) -> None:
        """Write all of `data` at once and give the file its name."""
        with writing(self.path, FULL), os.fdopen(os.dup(self._descriptor), "wb") as file:
            file.write(data)
        self.commit()

    def commit(self) -> None:
        """Give the complete file its name, after it has reached the disk."""
        with writing(self.path, "make its folder again, or choose another", "could not be given its name"):
            os.fsync(self._descriptor)
            self.size = os.fstat(self._descriptor).st_size
            file_there(self.path, self.final)
            if self.replaces:
                os.replace(self.part, self.final)
            else:
                _link(self.path, self.part, self.final)
        self.committed = True
        self._close()

    def discard(self) -> None:
        """Remove the part file, unless it is kept; harmless after `commit`, when called twice, and where its
        folder is gone."""
        if not self.committed and not (self.keeps and self.begun):
            with contextlib.suppress(OSError):
                self.part.unlink(missing_ok=True)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.discard()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _stat(path: Path) -> os.stat_result | None:
    """What a file replaces whose place was checked when its part file was made."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _link(path: Path, part: Path, final: Path) -> None:
    """Give the part file its name, unless another file has it."""
    try:
        os.link(part, final)
    except FileExistsError:
        raise OutputFileError(f"{path} is there by now; the result was not to replace it") from None
    part.unlink()


def _opened(part: Path, replaced: os.stat_result | None) -> int:
    """The part file that an earlier run left, or a new one."""
    try:
        return os.open(part, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return _new(part, replaced)


def _new(part: Path, replaced: os.stat_result | None) -> int:
    """A new file that nobody has put there before, as open to others as the one that it will replace."""
    part.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(part, flags, 0o666 if replaced is None else 0o600)
    if replaced is not None and hasattr(os, "fchown"):
        with contextlib.suppress(OSError):  # another user's file, which only root may give away
            os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
        with contextlib.suppress(OSError):  # a file system without permissions
            os.fchmod(descriptor, replaced.st_mode & 0o777)
    return descriptor


def refuse_input(path: Path, source: Path) -> None:
    """Raise OutputFileError if the output `path` is the input `source` itself, by whatever name."""
    try:
        same = os.path.samefile(path, source)
    except OSError:  # one of them is not there, which is said elsewhere
        return
    if same:
        raise OutputFileError(f"{path} is the input file itself; choose another name")
