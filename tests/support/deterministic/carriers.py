"""What carries the tasks of a deterministic runtime: OS threads that pass a baton, or greenlets.

Invariant: exactly one task runs; `switch` returns in the caller when somebody switches back. Threads keep
what belongs to a thread honest (framework modes, context variables); greenlets run five to ten times as many
schedules.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Carrier", "GreenletCarrier", "ThreadCarrier", "carrier_named", "fastest_carrier"]


class Carrier(Protocol):
    """Creates and switches between places to run."""

    def adopt(self) -> Any:
        """The place the caller runs in."""
        ...

    def launch(self, body: Callable[[], Any]) -> Any:
        """A new place that runs `body` when first switched to; `body` returns the place to go on in."""
        ...

    def switch(self, source: Any, target: Any) -> None:
        """Leave `source` for `target`."""
        ...

    def ended(self, place: Any) -> None:
        """Wait until nothing of an ended `place` is left."""
        ...

    def close(self) -> None:
        """Let go of everything once all places have ended."""
        ...


class _Place:
    __slots__ = ("baton", "thread")

    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.thread: threading.Thread | None = None


class ThreadCarrier:
    """One OS thread a task."""

    def adopt(self) -> _Place:
        """The calling thread."""
        return _Place()

    def launch(self, body: Callable[[], _Place]) -> _Place:
        """A thread that waits for its baton."""
        place = _Place()

        def carried() -> None:
            place.baton.acquire()
            body().baton.release()

        place.thread = threading.Thread(target=carried, name="deterministic", daemon=True)
        place.thread.start()
        return place

    def switch(self, source: _Place, target: _Place) -> None:
        """Give the baton away and wait for one's own."""
        target.baton.release()
        source.baton.acquire()

    def ended(self, place: _Place) -> None:
        """Join the thread."""
        if place.thread is not None:
            place.thread.join()

    def close(self) -> None:
        """Nothing: the threads have ended."""


class GreenletCarrier:
    """One greenlet a task, all in the calling thread."""

    def __init__(self) -> None:
        from greenlet import GreenletExit, getcurrent, greenlet

        self._exit = GreenletExit
        self._current = getcurrent
        self._greenlet = greenlet
        self._trampoline = greenlet(_bounce)

    def adopt(self) -> Any:
        """The running greenlet."""
        return self._current()

    def launch(self, body: Callable[[], Any]) -> Any:
        """A greenlet that ends into the place that `body` returns."""

        return self._greenlet(lambda *_: body(), self._trampoline)

    def switch(self, source: Any, target: Any) -> None:
        """Switch."""
        target.switch()

    def ended(self, place: Any) -> None:
        """Nothing: an ended greenlet is gone."""

    def close(self) -> None:
        """End the trampoline: the collector does not look into the frame of a suspended greenlet, so its last
        task and what that held would stay for ever (290 MB after half a million schedules)."""
        if self._trampoline:
            self._trampoline.throw(self._exit)
        self._trampoline = self._greenlet(_bounce)


def _bounce(target: Any) -> None:
    """Parent of all tasks: an ended one returns here whom to go to."""
    while True:
        target = target.switch()


def fastest_carrier() -> str:
    """`greenlets` where the package is installed, else `threads`."""
    return "greenlets" if importlib.util.find_spec("greenlet") else "threads"


def carrier_named(name: str) -> Carrier:
    """`threads` or `greenlets`."""
    return ThreadCarrier() if name == "threads" else GreenletCarrier()
