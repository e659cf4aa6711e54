"""Ubatches that are made when a thread takes them, for a step that has many.

Invariant: as in `ubatches.py`; only those that are taken and not stored are kept, however many there are.
Rejected: a context for each beforehand, since 100,000 of them take 20 MB, and Python's garbage collector goes
through all of them several times a step (8.5 us a ubatch instead of 4.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from microbatch.gathering.run_parts import Parts
from microbatch.schedules.step import Queue
from microbatch.step.planned import Planned
from microbatch.step.ubatches import Running, Ubatches
from microbatch.turns.context import UBatchContext
from microbatch.turns.state import UBatchState

MANY = 1024
"""Parts above which a step takes its ubatches so, in row order. With fewer, a schedule may begin with the
largest."""


class QueuedUbatches(Ubatches):
    """What a schedule takes, loads, computes and stores."""

    __slots__ = ("_closed", "_ended", "_numbers", "_open")

    def __init__(self, running: Running) -> None:
        super().__init__(running, made=False)
        self._numbers = count()
        self._closed = False
        self._open: dict[int, UBatchContext] = {}
        """Those that were taken and are not stored."""
        self._started = {}
        self._ended: dict[int, float] = {}
        """Seconds of each that was stored."""

    @property
    def queue(self) -> Queue:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """Where a schedule takes them from."""
        return self

    def popleft(self) -> UBatchContext:
        """The next one; raises IndexError where none is left."""
        number = None if self._closed else self._take()
        if number is None:
            raise IndexError
        return self._made(number)

    def clear(self) -> None:
        """Give none from now on."""
        self._closed = True

    def store(self, context: UBatchContext, outputs: Any) -> None:
        """Write the outputs to their rows of the result."""
        number = context.ubatch_id
        self._parts.store(number, outputs)
        context.advance(UBatchState.COMPLETED)
        self._ended[number] = self._clock() - self._started.pop(number)
        self._open.pop(number, None)
        if self._count is not None:
            self._count.add(self._requests_ended(number))

    def all_stored(self) -> bool:
        """Whether every row is in the result."""
        return len(self._ended) == len(self._parts.calls)

    def unfinished(self) -> Iterator[UBatchContext]:
        """New contexts for those that were begun and not stored, then those that nobody has taken."""
        self._closed = False
        for number in sorted(self._open):
            yield self._made(number)
        while True:
            try:
                context = self.popleft()
            except IndexError:
                return
            yield context

    def tell(self) -> None:
        """Put times into the record of the step."""
        self._outcome.seconds = [self._ended.get(number, 0.0) for number in range(len(self._parts.calls))]

    def _made(self, number: int) -> UBatchContext:
        context = self._open[number] = self._context(number)
        return context

    def _take(self) -> int | None:
        """The number of the next one that nobody has taken; None where all are."""
        number = next(self._numbers)
        return number if number < len(self._parts.calls) else None

    def _context(self, number: int) -> UBatchContext:
        calls = self._parts.calls
        return UBatchContext(calls[number], number, len(calls), self._runtime)


def may_be_queued(planned: Planned, parts: Parts) -> bool:
    """Whether its ubatches do not wait for each other, and there are no others than those of its cut."""
    apart = planned.schedule in ("sequential", "parallel")
    return apart and parts.cut.unpadded is None and len(parts.calls) == len(parts.cut.slices)
