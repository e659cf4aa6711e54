"""The standard streams: whatever becomes of them, the work goes on, and what could not be said is noted.

Invariant: writing to `sys.stdout` or `sys.stderr` inside `guarded` never raises, be they closed, full, or
their reader gone; of standard output the first failure is kept, for the exit code. The descriptors 0, 1 and 2
are never free: the next file that is opened would get one of them, and what others print would go into it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Stream:
    """A text stream that takes everything; the attributes that are not here are those of the stream."""

    def __init__(self, stream: Any) -> None:
        """`stream` is None where it was closed when Python started."""
        self.failed: OSError | ValueError | None = None
        """The first failure."""
        self._closed = stream is None
        self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115 - see `end`

    def write(self, text: str) -> int:
        """Write `text`; characters that the encoding has not are written as `\\xe9`."""
        if self._closed:
            self._note(OSError(errno.EBADF, os.strerror(errno.EBADF)))
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:
            self._stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        except (OSError, ValueError) as error:
            self._note(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._note(error)

    def end(self) -> None:
        """Nobody writes to it any more."""
        self.flush()
        if self._closed:
            self._stream.close()

    def _note(self, error: OSError | ValueError) -> None:
        if self.failed is None:
            self.failed = error
            if not self._closed:
                _let_go(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def guarded() -> Iterator[Stream]:
    """Put both streams behind a `Stream`; gives that of standard output."""
    before = sys.stdout, sys.stderr
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before
        out.end()
        err.end()


def say(text: str) -> None:
    """Write lines to standard error, if it takes them."""
    if sys.stderr is not None:  # of None, `print` makes standard output
        with suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


def repair_descriptors() -> None:
    """Open the null device where 0, 1 or 2 is closed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _let_go(stream: Any) -> None:
    """Send the rest to the null device: Python flushes its streams once more when it ends, and would report
    it and end with 120."""
    with suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()
        if number in (1, 2):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
