"""The ring: exactly one ubatch has the turn, and passes it on at its yield points.

Invariant: `holder`, `after` and `failed` change only by the hand of whoever has the turn; each party waits in a gate
of its own for one permit, and looks at the state again whenever it wakes, so a stray permit does no harm. A failed
holder passes the turn on and the siblings unwind one after another, in their order. `scattered` is the way out for
everybody else (a limit that passed, an interrupted caller): a flag that stays, then every gate opened; whoever is
parked unwinds now. It takes no lock that an interrupted thread could be holding.

Rejected: a lock with a condition (5 of 159 bytecodes at which Ctrl-C left workers parked), a pair of events per
party (lost wake-ups between waiting and clearing), opening all gates on every failure (siblings would run their
`finally` blocks at the same time, though the function was promised that one runs at a time).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

from microbatch.errors import ThreadStateError, UnequalYieldsError, WaitTimeoutError
from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime
from microbatch.turns.state import UBatchCancelled

__all__ = ["Ring", "ThreadRing"]


NOBODY = -1
"""Who comes after a party that has left."""


class Ring:
    """What both drivers keep: who has the turn, who comes after whom, and where each party stands."""

    def __init__(self, parties: int) -> None:
        self.holder = 0
        self.failed = False
        self.after: list[int] = [*range(1, parties), 0]
        self.yields = [0] * parties
        self.labels = ["start"] * parties
        self.left = [False] * parties

    def start(self, index: int) -> None:
        """Arrive at the start line; returns with the turn. The drivers say how."""
        raise AssertionError("a ring without a driver")

    def hand_over(self, index: int, label: str = "") -> None:
        """Pass the turn and come back when it returns; nothing when nobody else is left."""
        raise AssertionError("a ring without a driver")

    def fail(self, index: int) -> None:
        """`index` raised: make its siblings unwind."""
        self.failed = True

    def leave(self, index: int) -> None:
        """`index` has finished or failed; the turn goes on. Twice is once."""
        raise AssertionError("a ring without a driver")

    def sibling(self, index: int) -> int | None:
        """Who gets the turn after `index`, None when it is alone."""
        following = self.after[index]
        return None if following == index else following

    def check_equal(self) -> None:
        """Raise UnequalYieldsError, with each count, unless all parties passed as many yield points."""
        if len(set(self.yields)) > 1:
            counts = ", ".join(f"ubatch {i} passed {count}" for i, count in enumerate(self.yields))
            raise UnequalYieldsError(
                f"the ubatches passed different numbers of yield points: {counts};"
                " make the function yield equally often, or set strict_yields=False"
            )

    def _unlink(self, index: int) -> int:
        """Take `index` out of the order; returns who came after it."""
        following = self.after[index]
        self.left[index] = True
        self.after[index] = NOBODY
        if following != index:
            self.after[self.after.index(index)] = following
        return following

    def _standing(self, index: int) -> str:
        place = f"yield {self.yields[index]}" if self.yields[index] else "the start"
        if self.labels[index] and self.yields[index]:
            place += f" ({self.labels[index]})"
        if self.left[index]:
            return f"ubatch {index} has finished"
        if self.holder == index:
            return f"ubatch {index} has the turn since {place}"
        return f"ubatch {index} waits at {place}"


class ThreadRing(Ring):
    """The ring between threads."""

    def __init__(self, runtime: Runtime, gates: Sequence[Gate], timeout: float | None) -> None:
        super().__init__(len(gates))
        self._runtime = runtime
        self._gates = gates
        self._timeout = timeout
        self._owners: list[Hashable] = [None] * len(gates)
        self._arrived: deque[int] = deque()
        self._started = False
        self.scattered = False
        runtime.gather(gates)

    def start(self, index: int) -> None:
        """Arrive at the start line in the thread that will carry `index`; returns with the turn.

        Nobody gets it before all have arrived, so an error in one party's set-up finds no other half way.
        """
        self._owners[index] = self._runtime.current()
        self._arrived.append(index)
        if len(self._arrived) >= len(self._gates):
            self._started = True  # two may see this; the flag and the permit bear it
            if self.holder != index:
                self._gates[self.holder].open()
        self._take(index)

    def hand_over(self, index: int, label: str = "") -> None:
        """As in `Ring`. Raises UBatchCancelled if a sibling failed, WaitTimeoutError if the limit passes."""
        if self._owners[index] != self._runtime.current():
            raise ThreadStateError(_foreign(index))
        self._runtime.point(label)
        if self.failed or self.scattered:
            raise UBatchCancelled
        self.yields[index] += 1
        self.labels[index] = label
        following = self.after[index]
        if following == index:
            return
        try:
            self.holder = following
            self._gates[following].open()
            self._take(index)
        except UBatchCancelled:
            raise
        except BaseException:
            self.scatter()  # interrupted somewhere in here: the turn may be nobody's
            raise

    def fail(self, index: int) -> None:
        """`index` raised: siblings are to unwind, in their order if `index` has the turn, else at once."""
        if self.holder == index:
            self.failed = True
        else:
            self.scatter()

    def leave(self, index: int) -> None:
        """`index` has finished or failed; the turn goes on. Twice is once."""
        self._runtime.point("leave")
        if self.holder != index or self.left[index]:
            return
        following = self._unlink(index)
        if following != index:
            self.holder = following
            self._gates[following].open()

    def scatter(self) -> None:
        """Make everybody unwind now; from any thread, at any time, any number of times."""
        self.scattered = True
        for gate in self._gates:
            gate.open()

    def _take(self, index: int) -> None:
        """Wait for the turn, then see whether it is still a turn to go on."""
        gate = self._gates[index]
        while not self.scattered and (self.holder != index or not (self._started or self.failed)):
            if not gate.wait(self._timeout):
                self._late(index)
        if self.failed or self.scattered:
            raise UBatchCancelled

    def _late(self, index: int) -> None:
        """The limit passed; unless the turn came in that moment, say who waits where and for whom."""
        if self.scattered or (self.holder == index and (self._started or self.failed)):
            return
        missing = [i for i in range(len(self._gates)) if i not in self._arrived]
        awaited = f"ubatch {self.holder}" if self._started else "ubatches " + ", ".join(map(str, missing))
        table = "; ".join(self._standing(i) for i in range(len(self._gates)))
        raise WaitTimeoutError(
            f"ubatch {index} waited {self._timeout} s for {awaited} ({table});"
            " raise barrier_timeout if the work between two yields may take that long"
            f"\n{self._runtime.dump()}"
        )


def _foreign(index: int) -> str:
    return (
        f"a yield point of ubatch {index} was called from a thread that does not carry it;"
        " call it from the code that the wrapper calls, not from a thread or greenlet started there"
    )
