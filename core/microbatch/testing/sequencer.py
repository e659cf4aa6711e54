"""Run threads one at a time, in an order that was drawn before.

Invariant: exactly one of the bodies runs at any moment; who runs next is decided where the running one calls
`turn`. An error in any of them ends all waits, so a failing test fails and never hangs. Anyio and trio have a
sequencer for steps known beforehand; this one takes an order of parties, which hypothesis can draw and
shrink.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from microbatch.errors import BarrierBrokenError, WaitTimeoutError


class Sequencer:
    """`run` starts the bodies; each calls `turn(label)` wherever another may go on in its place.

    `order` says who goes next, by number: the first entry at the start, one more at each `turn`. Entries of
    parties that have ended are passed over; when none is left, the running party goes on to its end, then the
    lowest one.
    """

    def __init__(self, order: Sequence[int], *, timeout: float = 30.0) -> None:
        self._order = iter(order)
        self._timeout = timeout
        self._changed = threading.Condition()
        self._local = threading.local()
        self._running: int | None = None
        self._alive: set[int] = set()
        self._error: BaseException | None = None
        self.log: list[tuple[int, str]] = []
        """(party, label) of every turn taken, in order."""

    def run(self, bodies: Sequence[Callable[[], object]]) -> None:
        """Run each body in a thread of its own; raises the first error after all have ended.

        Raises WaitTimeoutError when a party that has the turn keeps it for `timeout` seconds.
        """
        self._alive = set(range(len(bodies)))
        threads = [
            threading.Thread(target=self._carry, args=(party, body), name=f"party-{party}", daemon=True)
            for party, body in enumerate(bodies)
        ]
        self._running = self._choose(None)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self._timeout * 2)
        if self._error is not None:
            raise self._error
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            raise WaitTimeoutError(
                f"{', '.join(stuck)} did not end; every loop of a body needs an end of its own"
            )

    def turn(self, label: str = "") -> None:
        """Let the order decide who goes on; returns when it is this party. BarrierBrokenError after an error.

        Does nothing in a thread that is no party.
        """
        party = getattr(self._local, "party", None)
        if party is None:
            return
        with self._changed:
            self.log.append((party, label))
            self._running = self._choose(party)
            self._changed.notify_all()
            self._await(party)

    def _carry(self, party: int, body: Callable[[], object]) -> None:
        self._local.party = party
        try:
            with self._changed:
                self._await(party)
            body()
        except BaseException as error:  # noqa: BLE001 - raised by run
            with self._changed:
                if self._error is None:
                    self._error = error
        finally:
            with self._changed:
                self._alive.discard(party)
                if self._running == party:
                    self._running = self._choose(None)
                self._changed.notify_all()

    def _await(self, party: int) -> None:
        """Wait for the turn; the lock is held."""
        arrived = self._changed.wait_for(
            lambda: self._running == party or self._error is not None, self._timeout
        )
        if self._error is not None:
            raise BarrierBrokenError(f"party {party} was woken because another one failed: {self._error!r}")
        if not arrived:
            raise WaitTimeoutError(
                f"party {party} waited {self._timeout} s while party {self._running} had the turn; "
                "it waits for something that only another party can do: call turn() before it"
            )

    def _choose(self, running: int | None) -> int | None:
        """Who goes next: the next party of the order that is alive."""
        for party in self._order:
            if party in self._alive:
                return party
        return running if running is not None else min(self._alive, default=None)
