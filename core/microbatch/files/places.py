"""Places that results are written to: what is refused before the work, and what the system refuses later.

Invariant: whatever the system refuses reaches the user as an OutputFileError with the system's reason. A
result takes the place of a regular file or of nothing: a FIFO, a device or a socket under that name would be
gone afterwards.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from microbatch.errors import OutputFileError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of_file(mode: int) -> str:
    """What a file that is not a regular one is, for messages."""
    return next((kind for test, kind in _KINDS if test(mode)), "no regular file")


def check_place(path: Path, kinds: Sequence[str], done: str) -> os.stat_result | None:
    """What the system says of the file that will be replaced; None where there is none.

    Raises OutputFileError for a file of a kind that cannot be `done`, for what is no regular file, and where
    the folder does not exist or may not be looked into.
    """
    if path.suffix.lower() not in kinds:
        raise OutputFileError(f"{path} is of no kind that can be {done}; name one of {', '.join(kinds)}")
    with writing(path, "choose another place"):
        final = os.path.realpath(path)
        if not _is_folder(os.path.dirname(final)):
            raise OutputFileError(f"the folder of {path} does not exist; make it, or choose another")
        if not os.access(os.path.dirname(final), os.W_OK | os.X_OK):
            raise OutputFileError(f"the folder of {path} may not be written to by this user; choose another")
        return file_there(path, Path(final))


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def file_there(path: Path, final: Path) -> os.stat_result | None:
    """What the system says of the regular file `final`, None where nothing is; `path` is how it was named."""
    try:
        found = os.stat(final)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        kind = kind_of_file(found.st_mode)
        hint = "name a file in it" if kind == "a folder" else "the result would replace it; name another file"
        raise OutputFileError(f"{path} is {kind}; {hint}")
    return found


@contextmanager
def writing(path: Path, remedy: str, problem: str = "cannot be written") -> Iterator[None]:
    """Make an OutputFileError of what the system refuses in the block."""
    try:
        yield
    except OutputFileError:
        raise
    except OSError as error:
        raise OutputFileError(f"{path} {problem} ({error.strerror}); {remedy}") from None
