"""The ring between greenlets: all ubatches in the caller's thread, a switch costs no system call.

Invariant: as between threads, one runs at a time, in the same order, from the same start line. What a
framework keeps per thread is shared by all greenlets, so whoever passes the turn first puts its own state
away (`parking`) and finds it there when the turn is back. Without that, `no_grad` of one ubatch would hold in
its siblings, and `inference_mode` would stay on for good. Rejected: generators, which are cheaper still;
every function between the wrapper and the yield would have to be one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context

from microbatch.errors import BackendUnavailableError
from microbatch.extend.inside import inside
from microbatch.turns.handoff import Ring
from microbatch.turns.state import UBatchCancelled

try:
    from greenlet import getcurrent, greenlet
except ImportError as missing:
    raise BackendUnavailableError(
        "driver 'greenlets' needs the greenlet package;"
        " pip install microbatch[greenlet], or use driver='threads'"
    ) from missing


class GreenletRing(Ring):
    """The ring between greenlets of one thread."""

    def __init__(
        self, parties: int, parking: Callable[[], AbstractContextManager[None]] | None = None
    ) -> None:
        """Each party enters `parking()` while it does not have the turn; None: there is nothing to park."""
        super().__init__(parties)
        self._parking = parking
        self._greenlets: list[greenlet] = []

    def carry(
        self, bodies: Sequence[Callable[[], None]], on_interrupt: Callable[[BaseException], None]
    ) -> None:
        """Run all bodies to their ends; `on_interrupt` gets what one lets through, and what strikes here.

        Then the ring has failed, and the loop goes on until each greenlet has unwound.
        """
        while True:
            try:
                self._carry_on(bodies)
            except BaseException as error:  # noqa: BLE001 - recorded, and raised when all have unwound
                self.failed = True
                on_interrupt(error)
            else:
                self._greenlets.clear()
                return

    def start(self, index: int) -> None:
        """Arrive: the carrying loop starts the next party, and after the last one gives the first its turn.

        A party that started the next itself would be as deep in Python's recursion as all before it together.
        """
        self.holder = self.after[index]
        self._leave_to(getcurrent().parent)

    def hand_over(self, index: int, label: str = "") -> None:
        """As in `Ring`."""
        if getcurrent() is not self._greenlets[index]:
            raise self._not_carried(index)
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
        # What `_switch` does without parking, written out: a call costs 50 ns, and a hand-off 500.
        self.holder = following
        self._greenlets[following].switch()
        if self.failed:
            raise UBatchCancelled

    def passes(self, index: int) -> bool:
        """As in `Ring`."""
        return self.after[index] != index and getcurrent() is self._greenlets[index]

    def leave(self, index: int) -> None:
        """As in `Ring`; who is next runs when the greenlet of `index` returns to `carry`."""
        if not self.left[index]:
            self.holder = self._unlink(index)

    def _switch(self, following: int) -> None:
        """Pass the turn to `following`."""
        self.holder = following
        self._leave_to(self._greenlets[following])

    def _leave_to(self, other: greenlet | None) -> None:
        """Go to `other`, this greenlet's state parked until the turn is back."""
        assert other is not None, "a party is carried by the loop that made it"
        if self._parking is None:
            other.switch()
        else:
            inside(self._parking(), lambda _: other.switch())
        if self.failed:
            raise UBatchCancelled

    def _carry_on(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Switch until each greenlet has ended.

        The loop has a function of its own: Python 3.12 and 3.13 do not guard a loop's jump back in a `try`.
        """
        self._make_greenlets(bodies)
        while (carrier := self._unfinished()) is not None:
            carrier.switch()

    def _make_greenlets(self, bodies: Sequence[Callable[[], None]]) -> None:
        """One greenlet a body, each in a copy of the caller's context variables."""
        while len(self._greenlets) < len(bodies):
            carrier = greenlet(bodies[len(self._greenlets)])
            carrier.gr_context = copy_context()
            self._greenlets.append(carrier)

    def _unfinished(self) -> greenlet | None:
        """Who has the turn; where nobody has it, after an interrupt, anybody who has not ended; else None."""
        for carrier in (self._greenlets[self.holder], *self._greenlets):
            if not carrier.dead:  # no generator: one that is dropped half-way swallows an interrupt
                return carrier
        return None
