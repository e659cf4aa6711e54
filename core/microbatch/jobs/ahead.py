"""One thing made in another thread while the caller works on the one before.

Invariant: at most one thing waits to be taken. What making it raises reaches the taker in its turn. `close`
asks the thread to end and waits for it at most `CLOSING` seconds: what it is busy with (a read from a
network) may never come back, and the thread does not keep the process alive. Rejected: a pool of
`concurrent.futures`, which waits for its threads at the end of the process, and whose waits are not those of
`turns/runtime.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from microbatch.turns.kept_errors import without_frames
from microbatch.turns.runtime import Runtime, Task

T = TypeVar("T")
CLOSING = 5.0
"""Seconds that the thread may take to end."""


class Ahead(Generic[T]):
    """Calls `make` again and again, each time one call ahead; None from it is the end."""

    def __init__(self, make: Callable[[], T | None], done: Callable[[], None], runtime: Runtime) -> None:
        """`done` is called once by the thread that made things, when no more are wanted."""
        self._make = make
        self._done = done
        self._wanted, self._ready = runtime.gate(), runtime.gate()
        self._made: T | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._task: Task = runtime.spawn(self._run, name="microbatch-stream")
        self._wanted.open()

    def take(self) -> T | None:
        """The next thing, waiting for it; from here on the one after it is made. None at the end."""
        self._ready.wait()
        made, error = self._made, self._error
        self._made = self._error = None
        if error is not None:
            raise error
        if made is not None:
            self._wanted.open()
        else:
            self._ready.open()  # the end stays the end
        return made

    def close(self) -> None:
        """No more is wanted."""
        self._closed = True
        self._wanted.open()
        self._task.join(CLOSING)

    @property
    def closed(self) -> bool:
        """Whether who makes things may stop in the middle of one."""
        return self._closed

    def _run(self) -> None:
        try:
            self._make_all()
        finally:
            self._done()

    def _make_all(self) -> None:
        """The loop has a function of its own: Python 3.12 and 3.13 do not guard its jump back in a `try`."""
        going = True
        while going:
            self._wanted.wait()
            if self._closed:
                return
            going = self._make_one()
            self._ready.open()

    def _make_one(self) -> bool:
        """Make the next thing, or keep the error; whether there may be more."""
        try:
            self._made = self._make()
        except BaseException as error:  # noqa: BLE001 - the taker gets it, in its own thread
            without_frames(error)
            self._error = error
            return False
        return self._made is not None
