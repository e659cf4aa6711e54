"""The ring between greenlets: all ubatches in the caller's thread, a switch costs no system call.

Invariant: as between threads, one runs at a time, in the same order, from the same start line. What the framework
keeps per thread is shared by all greenlets, so whoever passes the turn parks its state (`parking`) and finds it
again; without that, `no_grad` of one ubatch would hold in its siblings, and `inference_mode` would stay on for good.
Rejected: generators (cheaper still, but every function between the wrapper and the yield would have to be one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context

from microbatch.errors import BackendUnavailableError, ThreadStateError
from microbatch.turns.handoff import Ring
from microbatch.turns.state import UBatchCancelled

try:
    from greenlet import getcurrent, greenlet
except ImportError as missing:
    raise BackendUnavailableError(
        "driver 'greenlets' needs the greenlet package; pip install microbatch[greenlet], or use driver='threads'"
    ) from missing

__all__ = ["GreenletRing"]


class GreenletRing(Ring):
    """The ring between greenlets of one thread."""

    def __init__(
        self, parties: int, parking: Callable[[], AbstractContextManager[None]] | None = None
    ) -> None:
        """`parking()` is entered by each party around the time in which it does not have the turn."""
        super().__init__(parties)
        self._parking = parking
        self._greenlets: list[greenlet] = []

    def run(
        self, bodies: Sequence[Callable[[], None]], on_interrupt: Callable[[BaseException], None]
    ) -> None:
        """Run all bodies to their ends; an error that escapes from one, or strikes here, goes to `on_interrupt`."""
        while True:
            try:
                self._prepare(bodies)
                while (carrier := self._next()) is not None:
                    carrier.switch()
            except BaseException as error:  # noqa: BLE001 - recorded, and raised when all have unwound
                self.failed = True
                on_interrupt(error)
            else:
                self._greenlets.clear()
                return

    def start(self, index: int) -> None:
        """Arrive: each party goes to the next, the last one back to the first."""
        self._switch(self.after[index])

    def hand_over(self, index: int, label: str = "") -> None:
        """As in `Ring`. Raises UBatchCancelled if a sibling failed."""
        if getcurrent() is not self._greenlets[index]:
            raise ThreadStateError(
                f"a yield point of ubatch {index} was called from a greenlet or thread that does not carry it;"
                " call it from the code that the wrapper calls"
            )
        if self.failed:
            raise UBatchCancelled
        self.yields[index] += 1
        self.labels[index] = label
        following = self.after[index]
        if following == index:
            return
        if self._parking is not None:
            self._switch(following)
            return
        self.holder = following
        self._greenlets[following].switch()
        if self.failed:
            raise UBatchCancelled

    def leave(self, index: int) -> None:
        """`index` has ended; who is next runs when its greenlet returns."""
        if not self.left[index]:
            self.holder = self._unlink(index)

    def _switch(self, following: int) -> None:
        self.holder = following
        if self._parking is None:
            self._greenlets[following].switch()
        else:
            with self._parking():
                self._greenlets[following].switch()
        if self.failed:
            raise UBatchCancelled

    def _prepare(self, bodies: Sequence[Callable[[], None]]) -> None:
        """One greenlet a body, each in a copy of the caller's context variables."""
        while len(self._greenlets) < len(bodies):
            carrier = greenlet(bodies[len(self._greenlets)])
            carrier.gr_context = copy_context()
            self._greenlets.append(carrier)

    def _next(self) -> greenlet | None:
        """Whoever has the turn, else anybody who has not ended: after an interrupt the turn may be nobody's."""
        carrier = self._greenlets[self.holder]
        if not carrier.dead:
            return carrier
        for carrier in self._greenlets:
            if not carrier.dead:
                return carrier
        return None
