"""The worker thread behind a host stream.

Invariant: items run one at a time, in the order they were put. After an item has failed, no item runs until
the error has been raised to somebody; items that were put before that raise never run. So which items run
depends on the order of the calls alone, not on how fast the thread is.

The thread starts with the first item and ends after `idle` seconds without an item, so a queue that nobody
uses any more holds no thread. Rejected: one thread for all streams, because copies would not overlap with
compute; and a thread that lives as long as the backend, because backends live as long as the process.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from microbatch_backends.host.events import Mark


class WorkQueue:
    """An ordered queue with at most one thread, which is a daemon: it never delays the end of the process."""

    def __init__(self, name: str, idle: float = 1.0) -> None:
        self._name = name
        self._idle = idle
        self._begin()

    def _begin(self) -> None:
        self._items: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None

    def run(self, work: Callable[[], object]) -> None:
        """Run `work` after all items put so far."""
        self._put(lambda: self._attempt(work))

    def after(self, mark: Mark) -> None:
        """Make items put from now on wait for `mark` of another queue; an error before it stops them too."""

        def follow() -> None:
            if self.failure is None:
                mark.wait()
                self.failure = mark.error

        self._put(follow)

    def mark(self) -> Mark:
        """A mark behind all items put so far; already finished where none is left, and inside an item."""
        self._renew_after_fork()
        mark = Mark(self._forgive)
        if self._inside():
            mark.finish(None)
        else:
            self._behind(lambda: mark.finish(self.failure))
        return mark

    def stop(self, timeout: float | None = 5.0) -> bool:
        """Run the items put so far and end the thread; False if that took longer than `timeout` seconds.

        A later item starts a new thread.
        """
        thread = self._thread
        if thread is None or self._process != os.getpid() or self._inside():
            return True
        self._items.put(None)
        thread.join(timeout)
        return not thread.is_alive()

    def _inside(self) -> bool:
        """Whether the calling thread is the one that runs the items."""
        return self._thread is threading.current_thread()

    def _put(self, item: Callable[[], object]) -> None:
        self._renew_after_fork()
        with self._lock:
            self._items.put(item)
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread = thread
                try:
                    thread.start()
                except BaseException:
                    self._thread = None
                    self._items = queue.SimpleQueue()
                    raise

    def _serve(self) -> None:
        while True:
            try:
                item = self._items.get(timeout=self._idle)
            except queue.Empty:
                item = None
            if item is not None:
                item()
                del item  # else its arrays would live until the next item comes
            elif self._end():
                return

    def _end(self) -> bool:
        """Whether the thread may end: no item has been put since it last looked."""
        with self._lock:
            if self._items.empty():
                self._thread = None
            return self._thread is None

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            if self.failure is None:
                work()
        except BaseException as error:  # noqa: BLE001 - kept, and raised where the host next waits
            self.failure = error

    def _forgive(self, error: BaseException) -> None:
        """Run items put from now on again, because `error` has been raised to somebody."""

        def clear() -> None:
            if self.failure is error:
                self.failure = None

        self._behind(clear)

    def _behind(self, item: Callable[[], object]) -> None:
        """Run `item` after all items put so far: now where no item is left, or in a forked child."""
        with self._lock:
            if self._thread is not None and self._process == os.getpid():
                self._items.put(item)
                return
        item()

    def _renew_after_fork(self) -> None:
        """Begin anew in a forked child, which has no such thread and a lock that may be held for ever."""
        if self._process != os.getpid():
            self._begin()
