"""Reading a history file, and putting another in its place.

Invariant: a file that is not ours is never changed, whatever it is (another program's database, a text, a
pipe, a device, a link, another user's). It is looked at before it is opened, opened without following links
or waiting, and read only if it is a file of this user that nobody else may write. What is written is a new
file beside it, which then takes its place at once: who reads never sees half of it, and needs no lock. Of
those who write, each locks the file that it is about to replace; who finds another one there begins again.

Rejected: writing into the file (a reader would see half of it, and SQLite would keep journals beside it); a
lock file (one that was left behind locks for ever).
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from microbatch.sizing.deadline import Deadline
from microbatch.sizing.exchange import exchange
from microbatch.sizing.history_rows import HEADER, LARGEST, BusyError, UnusableError, check_header

Change = Callable[[bytes | None], bytes]
"""From the bytes of the file, None where there is none, to those of the file that takes its place."""
PUT_BACK = 3
"""How often a foreign file is given its place back, where others are put there all the time."""
_CAREFULLY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_KINDS = {
    stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def read(path: str) -> bytes | None:
    """What is in the file, None where there is none; raises UnusableError or OSError."""
    with _opened(path, os.O_RDONLY) as file:
        return None if file is None else _all(file)


def update(path: str, change: Change, deadline: Deadline) -> None:
    """Put what `change` makes of the file in its place; raises UnusableError or OSError.

    BusyError where others have been writing it all the time.
    """
    while not _updated(path, change):
        if not deadline.pause():
            raise BusyError(f"others have been writing it for {deadline.seconds} s")


def _updated(path: str, change: Change) -> bool:
    """Whether it is done; False where somebody else was faster, or is writing now."""
    with _opened(path, os.O_RDWR) as file:
        if file is None:
            return _created(path, change(None))
        check_header(os.pread(file, HEADER, 0))  # before it is locked, as its own program may lock it
        before = os.fstat(file)
        if not _locked(file) or not _is_still(path, before):
            return False
        with _beside(path, change(_all(file))) as new:
            os.chmod(new, stat.S_IMODE(before.st_mode))
            return _replaced(path, new, before)


def _replaced(path: str, new: str, before: os.stat_result) -> bool:
    """Whether `new` took the place of the history that had the status `before`; it never takes another's.

    A file of somebody else that came at the last moment has the name `new` then, and is given its own back.
    Others may do the same now. So whoever holds a history drops it, and only a foreign file goes back: were
    every file put back, two who cross would leave it where it is.
    """
    try:
        exchanged = exchange(new, path)
    except FileNotFoundError:  # it was taken away
        return False
    if not exchanged and _is_still(path, before):
        os.replace(new, path)
        return True
    if not exchanged or _is_history(new):
        return exchanged
    for _ in range(PUT_BACK):
        _put_back(new, path)
        if not os.path.lexists(new) or _is_history(new):
            break
    return False


def _put_back(new: str, path: str) -> None:
    """Give `path` back the file that has the name `new`."""
    try:
        exchange(new, path)
    except FileNotFoundError:  # what had its place was taken away
        with suppress(FileExistsError):
            os.link(new, path)
            os.unlink(new)


def _is_history(path: str) -> bool:
    """Whether a history of this user is there."""
    try:
        with _opened(path, os.O_RDONLY) as file:
            check_header(b"" if file is None else os.pread(file, HEADER, 0))
    except (UnusableError, OSError):
        return False
    return True


def _created(path: str, data: bytes) -> bool:
    """Whether a file with `data` is there now, where there was none."""
    with _beside(path, data) as new:
        try:
            os.link(new, path)  # unlike a renaming, this replaces nothing
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if os.path.lexists(path):
                return False
            os.rename(new, path)
    return True


@contextmanager
def _opened(path: str, how: int) -> Iterator[int | None]:
    """A descriptor of the file, None where there is none."""
    file: int | None = None
    with suppress(FileNotFoundError):
        _check(os.lstat(path), how)  # to open a device may already do something
        file = os.open(path, how | _CAREFULLY)
    try:
        if file is not None:
            _check(os.fstat(file), how)
        yield file
    finally:
        if file is not None:
            os.close(file)


def _check(status: os.stat_result, how: int) -> None:
    """Raise UnusableError for what is no file of this user's own."""
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        raise UnusableError(f"it is {_KINDS.get(stat.S_IFMT(mode), 'no file')}")
    if status.st_uid != os.geteuid():
        raise UnusableError("it belongs to another user")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnusableError(f"others may write it, its mode is {stat.S_IMODE(mode):04o}")
    if how == os.O_RDWR and not mode & stat.S_IWUSR:
        raise UnusableError("it is read-only")
    if not 0 < status.st_size <= LARGEST:
        raise UnusableError(f"it has {status.st_size:,} bytes, as no history has")


def _all(file: int) -> bytes:
    """What is in it; no more than a history has, should it grow meanwhile."""
    with os.fdopen(file, "rb", buffering=0, closefd=False) as reader:
        os.lseek(file, 0, os.SEEK_SET)
        return b"".join(iter(lambda: reader.read(LARGEST), b""))[:LARGEST]


def _locked(file: int) -> bool:
    """Whether nobody else holds it; ends when it is closed."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: str, before: os.stat_result) -> bool:
    """Whether the file at `path` is the one that had this status, unchanged."""
    try:
        now = os.lstat(path)
    except FileNotFoundError:
        return False
    known = (before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns)
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == known


@contextmanager
def _beside(path: str, data: bytes) -> Iterator[str]:
    """The path of a new file with `data` in the same folder.

    At the end it is gone, and so is the history that it has changed places with.
    """
    file, new = tempfile.mkstemp(prefix=".microbatch-", dir=os.path.dirname(path))
    made = os.fstat(file)
    try:
        with os.fdopen(file, "wb") as writer:
            writer.write(data)
        yield new
    finally:
        with suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(new), made) or _is_history(new):
                os.unlink(new)
