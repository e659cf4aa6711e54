"""A start line for several threads that can be broken, and then says why.

Invariant: each round has one fate, tripped or broken, decided by a single `dict.setdefault`. A party that was
interrupted, or ran out of time, breaks the round for the others, and so does `abort`. Rounds are separate
objects, so a fast party that comes round again cannot be counted in the old round. No lock is held by anyone.

Rejected: `threading.Barrier`: Ctrl-C in one waiter leaves the others parked, a crossing costs 22-75 us.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from microbatch.errors import ArgumentValueError, BarrierBrokenError, WaitTimeoutError
from microbatch.options.checks import count
from microbatch.options.raised import name_of
from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime, default_runtime

TRIPPED = ""
"""The fate of a round that all parties reached; any other text is why it broke."""

MOST_PARTIES = 65_536
"""A larger count is taken for a mistake, not for threads."""


class Round:
    """One use of the barrier.

    `tickets` has one entry for each party that has not arrived. `fate` and `following` are dicts of one
    entry, since `setdefault` on a dict lets exactly one thread decide.
    """

    def __init__(self, number: int, parties: int) -> None:
        self.number = number
        self.parties = parties
        self.tickets = list(range(parties))
        self.gates: deque[Gate] = deque()
        self.fate: dict[str, str] = {}
        self.following: dict[str, Round] = {}

    def end(self, fate: str) -> str:
        """Decide the fate, unless that was done before; wake everyone; return what was decided."""
        decided = self.fate.setdefault("fate", fate)
        for gate in tuple(self.gates):
            gate.open()
        return decided

    def next(self) -> Round:
        """The round after this one, the same for everybody who asks."""
        return self.following.setdefault("round", Round(self.number + 1, self.parties))

    @property
    def over(self) -> bool:
        """Whether newcomers belong to the next round: it tripped, or was broken and then reset."""
        return self.fate.get("fate") == TRIPPED or bool(self.following)

    @property
    def broken(self) -> str:
        """Why it broke, empty if it did not."""
        return self.fate.get("fate", TRIPPED)


class UBatchBarrier:
    """Reusable barrier for `num_parties` threads."""

    def __init__(
        self,
        num_parties: int,
        runtime: Runtime | None = None,
        *,
        timeout: float | None = None,
        action: Callable[[], None] | None = None,
    ) -> None:
        """`timeout` (seconds) is for waits that name none; `action` runs once a round, before anyone passes.

        Raises ArgumentTypeError where `num_parties` is not whole, ArgumentValueError outside 1 to 65,536.
        """
        self.num_parties = count("num_parties", num_parties, MOST_PARTIES)
        self._runtime = runtime or default_runtime()
        self._timeout = timeout
        self._action = action
        self._round = Round(0, self.num_parties)

    @property
    def generation(self) -> int:
        """How many rounds have ended, by tripping or by `reset`."""
        return self._live().number

    @property
    def n_waiting(self) -> int:
        """Parties in the barrier now."""
        current = self._live()
        return 0 if current.broken else self.num_parties - len(current.tickets)

    @property
    def broken(self) -> bool:
        """Whether it was broken and not reset since."""
        return bool(self._live().broken)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for all parties, up to `timeout` seconds; returns this one's place, 0 for the last to come.

        Raises WaitTimeoutError in the party whose limit passed, BarrierBrokenError in the others and in all
        who come later, until `reset`; ArgumentValueError for a limit below zero or NaN, which breaks nothing.
        """
        limit = self._timeout if timeout is None else _limit(timeout)
        while True:
            current = self._live()
            try:
                place = self._pass(current, limit)
            except BaseException as error:
                current.end(f"one party left it with {name_of(error)}")
                raise
            if place is not None:
                return place

    def abort(self, reason: str) -> None:
        """Break the barrier: who is in it, and who comes later, gets BarrierBrokenError with `reason`."""
        while self._live().end(reason or "it was aborted") == TRIPPED:
            pass  # all parties of that round came just now: break the next one

    def reset(self) -> None:
        """Make it as new; whoever waits in it gets BarrierBrokenError. Harmless when nobody does."""
        current = self._live()
        if current.end("it was reset") != TRIPPED:
            self._round = current.next()

    def _live(self) -> Round:
        """The round that a newcomer belongs to; `_round` may lag behind, the chain never does."""
        current = self._round
        while current.over:
            current = current.next()
        return current

    def _pass(self, current: Round, limit: float | None) -> int | None:
        """Arrive and wait; None where the round was full already and the next one is to be tried."""
        if current.broken:
            raise _broken(current.broken)
        gate = self._runtime.gate()
        current.gates.append(gate)
        try:
            place = current.tickets.pop()
        except IndexError:  # more threads than parties
            self._await(current, gate, limit)
            return None
        self._runtime.point("barrier")
        if place > 0:
            self._await(current, gate, limit)
            return place
        if self._action is not None:
            self._action()
        fate = current.end(TRIPPED)
        if fate != TRIPPED:
            raise _broken(fate)
        self._round = current.next()
        return place

    def _await(self, current: Round, gate: Gate, limit: float | None) -> None:
        """Wait for the round's fate; raises BarrierBrokenError, or WaitTimeoutError after `limit` seconds."""
        deadline = None if limit is None else self._runtime.monotonic() + limit
        left = limit
        while not current.fate:
            if not gate.wait(left):
                self._late(current, limit)
            elif deadline is not None:
                left = deadline - self._runtime.monotonic()
        if current.broken:
            raise _broken(current.broken)

    def _late(self, current: Round, limit: float | None) -> None:
        """Break the round and raise WaitTimeoutError, unless its fate was decided just now."""
        here = self.num_parties - len(current.tickets)
        verdict = f"one of its parties waited longer than {limit} s"
        if current.end(verdict) is verdict:
            raise WaitTimeoutError(
                f"waited {limit} s at the barrier, where {here} of {self.num_parties} parties arrived;"
                " raise the timeout, or see why the others did not come, then reset the barrier"
            )


def _broken(reason: str) -> BarrierBrokenError:
    return BarrierBrokenError(f"the barrier is broken because {reason}; reset it to use it again")


def _limit(timeout: float) -> float:
    if not timeout >= 0:  # also refuses nan
        raise ArgumentValueError(
            f"timeout is {timeout}; give seconds from 0 on, or None for no limit of its own"
        )
    return timeout
