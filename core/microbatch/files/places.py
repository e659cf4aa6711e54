"""Places that results are written to: what is refused before the work, and what the system refuses later.

Invariant: whatever the system refuses reaches the user as an OutputFileError with the system's reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from microbatch.errors import OutputFileError


def check_place(path: Path, kinds: Sequence[str], done: str) -> None:
    """Raise OutputFileError for a file of a kind that cannot be `done`, for a folder, or in no folder."""
    if path.suffix.lower() not in kinds:
        raise OutputFileError(f"{path} is of no kind that can be {done}; name one of {', '.join(kinds)}")
    if path.is_dir():
        raise OutputFileError(f"{path} is a folder; name a file in it")
    if not path.resolve().parent.is_dir():
        raise OutputFileError(f"the folder of {path} does not exist; make it, or choose another")


@contextmanager
def writing(path: Path, remedy: str, problem: str = "cannot be written") -> Iterator[None]:
    """Make an OutputFileError of what the system refuses in the block."""
    try:
        yield
    except OSError as error:
        raise OutputFileError(f"{path} {problem} ({error.strerror}); {remedy}") from None
