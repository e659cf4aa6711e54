"""Queues of work, run as late and in as bad an order as events allow.

Invariant: nothing runs before the host waits for something; then work runs until that is done, one item at a
time, in the order that an `Order` picks. Work whose wait is not fulfilled never runs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from microbatch.testing.adversarial.order import Order
from microbatch.testing.simulated.executor import Executor, Mark, Work


@dataclass(slots=True)
class _Item:
    """Work, a mark to set, or a mark to wait for."""

    number: int
    work: Work | None = None
    sets: Mark | None = None
    after: Mark | None = None


class LazyExecutor(Executor):
    """Holds work back; safe from several host threads."""

    def __init__(self, order: Order, purpose_of: Callable[[int], str]) -> None:
        self._order = order
        self._purpose_of = purpose_of
        self._queues: dict[int, deque[_Item]] = {}
        self._errors: dict[int, BaseException] = {}
        self._launches = 0
        self._decisions = 0
        self._lock = threading.RLock()

    @property
    def pending(self) -> int:
        """Pieces of work that were launched and have not run."""
        return sum(item.work is not None for queue in list(self._queues.values()) for item in list(queue))

    def launch(self, stream: int, work: Work) -> None:
        """Queue `work`."""
        self._put(stream, _Item(0, work=work))

    def mark(self, stream: int) -> Mark:
        """A point behind what is queued."""
        mark = Mark()
        self._put(stream, _Item(0, sets=mark))
        return mark

    def wait(self, stream: int, mark: Mark) -> None:
        """Queue a wait."""
        self._put(stream, _Item(0, after=mark))

    def poll(self, mark: Mark) -> bool:
        """Whether it is done; if not, run one item, so that a loop that polls ends."""
        with self._lock:
            if mark.done:
                return True
            self._step()
            return False

    def finish(self, mark: Mark) -> None:
        """Run items until `mark` is reached."""
        with self._lock:
            while not mark.done:
                self._step()
            error = mark.error
            if error is not None:
                self._errors = {stream: other for stream, other in self._errors.items() if other is not error}
                raise error

    def _put(self, stream: int, item: _Item) -> None:
        with self._lock:
            item.number = self._launches
            self._launches += 1
            self._queues.setdefault(stream, deque()).append(item)

    def _step(self) -> None:
        """Run one item."""
        ready = [
            (queue[0].number, self._purpose_of(stream), stream)
            for stream, queue in self._queues.items()
            if queue and (queue[0].after is None or queue[0].after.done)
        ]
        assert ready, "a mark that no queued work sets"
        choice = self._order.pick(self._decisions, [(number, purpose) for number, purpose, _ in ready])
        self._decisions += 1
        stream = ready[choice][2]
        self._run(stream, self._queues[stream].popleft())

    def _run(self, stream: int, item: _Item) -> None:
        if item.sets is not None:
            item.sets.error = self._errors.get(stream)
            item.sets.done = True
        elif item.after is not None and item.after.error is not None:
            self._errors.setdefault(stream, item.after.error)
        elif item.work is not None and stream not in self._errors:
            try:
                with np.errstate(all="ignore"):
                    item.work()
            except Exception as error:  # noqa: BLE001 - raised where the host waits for this stream
                self._errors[stream] = error
