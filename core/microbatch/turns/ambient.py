"""What an engine keeps in a global of its own, such as a forward context, follows the ubatch that runs.

Invariant: at any time one ubatch of a step at most has entered its surroundings: the one that has the turn.
It leaves them before the turn is passed and enters them anew when it is back, to unwind too. Where all unwind
at once, after an interrupt or a limit, nobody enters any more: two that restore one global out of order would
leave it wrong. What was entered is left, wherever an interrupt strikes: entering and taking note of it is one
call of C code, and so is leaving.

Rejected: one context manager a ubatch that is entered again and again (those made of generators can be
entered once), and swapping context variables (an engine's global is not one).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import ArgumentTypeError
from microbatch.options.messages import given
from microbatch.turns.seat import Seat
from microbatch.turns.step_lanes import Lane

Ambient = Callable[[UBatchSlice, int], AbstractContextManager[Any]]
"""ambient(slice, ubatch id) -> context manager; called anew for each time the ubatch goes on."""

_enter = methodcaller("__enter__")
_leave = methodcaller("__exit__", None, None, None)


class Surroundings:
    """Those of one ubatch."""

    __slots__ = ("_ambient", "_entered", "_kind", "_left", "_manager", "_part", "_ubatch")

    def __init__(self, ambient: Ambient, part: UBatchSlice, ubatch: int) -> None:
        self._ambient = ambient
        self._part = part
        self._ubatch = ubatch
        self._kind: type | None = None
        """Class of the last manager: the same one is looked at once, as that takes a fifth of entering."""
        self._manager: AbstractContextManager[Any] | None = None
        self._entered: list[Any] = []
        self._left: list[Any] = []

    def enter(self) -> None:
        """Enter a new context manager; raises ArgumentTypeError if `ambient` gives none."""
        self._entered, self._left = [], []
        self._manager = manager = self._ambient(self._part, self._ubatch)
        if type(manager) is not self._kind:
            self._check(manager)
        self._entered.extend(map(_enter, (manager,)))

    def _check(self, manager: AbstractContextManager[Any]) -> None:
        if not isinstance(manager, AbstractContextManager):
            raise ArgumentTypeError(
                f"ambient returned {given(manager)} for ubatch {self._ubatch}; return a context manager"
            )
        self._kind = type(manager)

    def leave(self) -> None:
        """Leave what was entered; twice is once."""
        if len(self._left) < len(self._entered):
            self._left.extend(map(_leave, (self._manager,)))


@dataclass(slots=True, eq=False, repr=False)
class SurroundedSeat(Seat):
    """A seat whose ubatch has surroundings."""

    surroundings: Surroundings
    """What is entered while it runs."""

    def begin(self) -> None:
        """As in `Seat`, and enter the surroundings."""
        super(SurroundedSeat, self).begin()
        self.surroundings.enter()

    def end(self) -> None:
        """As in `Seat`, out of the surroundings; twice is once."""
        try:
            self.surroundings.leave()
        finally:
            super(SurroundedSeat, self).end()

    def hand_over(self, label: str = "") -> None:
        """As in `Seat`, out of the surroundings in between."""
        self._outside(super(SurroundedSeat, self).hand_over, label)

    def hand_over_to(self, lane: Lane, label: str = "") -> None:
        """As in `Seat`, out of the surroundings in between."""
        self._outside(super(SurroundedSeat, self).hand_over_to, lane, label)

    def _outside(self, hand_over: Callable[..., None], *arguments: str) -> None:
        """Hand over out of the surroundings, where that passes the turn at all."""
        if not self.ring.passes(self.index):
            hand_over(*arguments)
            return
        self.surroundings.leave()
        try:
            hand_over(*arguments)
        finally:
            if not self.ring.scattered:
                self.surroundings.enter()
