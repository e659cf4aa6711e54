"""The ring: exactly one ubatch has the turn, and passes it on at its yield points.

Invariant: `holder`, `after` and `failed` are changed by whoever has the turn, and by nobody else. Each party
waits in a gate of its own for one permit, and looks at the state again whenever it wakes, so a permit too
many does no harm. A holder that fails passes the turn on, and its siblings unwind one after another, in their
order. Everybody else (a party whose limit passed, an interrupted caller) has no turn to pass and uses
`scatter`: it sets a flag that stays, then opens every gate, so whoever is parked unwinds at once. No lock is
taken that an interrupted thread could keep.

Rejected: a lock with a condition (at 5 of 159 bytecodes Ctrl-C left workers parked), a pair of events per
party (wake-ups are lost between waiting and clearing), and opening all gates on every failure (siblings would
run their `finally` blocks at the same time, though the function was promised that one runs at a time).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Hashable, Sequence

from microbatch.errors import ThreadStateError, UnequalYieldsError, WaitTimeoutError
from microbatch.turns.gates import Gate
from microbatch.turns.runtime import Runtime
from microbatch.turns.state import UBatchCancelled

NOBODY = -1
"""Who comes after a party that has left."""


class Ring(ABC):
    """What both drivers keep: who has the turn, who comes after whom, and where each party stands."""

    def __init__(self, parties: int) -> None:
        self.holder = 0
        """Who has the turn."""
        self.first = 0
        """The ubatch that party 0 is, for messages: each group of a step has a ring of its own."""
        self.scattered = False
        """Whether all are to unwind now, whoever has the turn."""
        self.failed = False
        """Whether a party that had the turn raised; from then on each turn is for unwinding."""
        self.after: list[int] = [*range(1, parties), 0]
        """Who gets the turn after each party; itself where it is alone."""
        self.yields = [0] * parties
        """How many yield points each party has passed."""
        self.labels = ["start"] * parties
        """The label of the last yield point of each party."""
        self.left = [False] * parties
        """Whether each party has finished or failed."""

    @abstractmethod
    def start(self, index: int) -> None:
        """Arrive at the start line; returns with the turn."""

    @abstractmethod
    def hand_over(self, index: int, label: str = "") -> None:
        """Pass the turn and come back when it returns; nothing when nobody else is left.

        Raises UBatchCancelled if a sibling failed, ThreadStateError where the caller does not carry `index`.
        """

    @abstractmethod
    def passes(self, index: int) -> bool:
        """Whether `hand_over`, called here, would pass the turn: `index` is carried here, and not alone."""

    @abstractmethod
    def leave(self, index: int) -> None:
        """`index` has finished or failed; the turn goes on. Twice is once."""

    def fail(self, index: int) -> None:
        """`index` raised: make its siblings unwind."""
        self.failed = True

    def check_equal(self) -> None:
        """Raise UnequalYieldsError, with each count, unless all parties passed as many yield points."""
        if len(set(self.yields)) > 1:
            counts = ", ".join(f"{self._named(i)} passed {count}" for i, count in enumerate(self.yields))
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

    def _not_carried(self, index: int) -> ThreadStateError:
        return ThreadStateError(
            f"a yield point of {self._named(index)} was called from a thread or greenlet that does not carry"
            " it; call it from the code that the wrapper calls, not from a thread or greenlet started there"
        )

    def _standing(self, index: int) -> str:
        """Where `index` is, as text."""
        place = f"yield {self.yields[index]}" if self.yields[index] else "the start"
        if self.labels[index] and self.yields[index]:
            place += f" ({self.labels[index]})"
        if self.left[index]:
            return f"{self._named(index)} has finished"
        if self.holder == index:
            return f"{self._named(index)} has the turn since {place}"
        return f"{self._named(index)} waits at {place}"

    def _named(self, index: int) -> str:
        return f"ubatch {index + self.first}"


class ThreadRing(Ring):
    """The ring between threads."""

    def __init__(self, runtime: Runtime, gates: Sequence[Gate], timeout: float | None) -> None:
        """One party a gate; nobody waits for its turn longer than `timeout` seconds."""
        super().__init__(len(gates))
        self._runtime = runtime
        self._gates = gates
        self._timeout = timeout
        self._owners: list[Hashable] = [None] * len(gates)
        self._arrived: deque[int] = deque()
        self._started = False
        runtime.gather(gates)

    def start(self, index: int) -> None:
        """Arrive at the start line in the thread that will carry `index`; returns with the turn.

        Nobody gets it before all have arrived, so an error in one party's set-up finds no other half way.
        """
        self._owners[index] = self._runtime.current()
        self._arrived.append(index)
        if len(self._arrived) >= len(self._gates):
            self._started = True  # two may come here at once: flag and permit may both be given twice
            if self.holder != index:
                self._gates[self.holder].open()
        self._take(index)

    def hand_over(self, index: int, label: str = "") -> None:
        """As in `Ring`; also raises WaitTimeoutError if the limit passes before the turn is back."""
        if self._owners[index] != self._runtime.current():
            raise self._not_carried(index)
        self._runtime.point(label)
        if self.failed or self.scattered:
            raise UBatchCancelled
        self.yields[index] += 1
        self.labels[index] = label
        following = self.after[index]
        if following == index:
            return
        try:
            self.holder = following  # before the gate is opened: who wakes looks at it
            self._gates[following].open()
            self._take(index)
        except UBatchCancelled:
            raise
        except BaseException:
            self.scatter()  # a limit or an interrupt, anywhere in here: nobody may have the turn now
            raise

    def passes(self, index: int) -> bool:
        """As in `Ring`."""
        return self.after[index] != index and self._owners[index] == self._runtime.current()

    def fail(self, index: int) -> None:
        """`index` raised: its siblings unwind, in their order if `index` has the turn, else at once."""
        if self.holder == index:
            self.failed = True
        else:
            self.scatter()

    def leave(self, index: int) -> None:
        """As in `Ring`; who has not the turn, because all were made to unwind, has none to pass on."""
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
        """Wait for the turn; raises UBatchCancelled where it is a turn to unwind."""
        gate = self._gates[index]
        while not self.scattered and (self.holder != index or not (self._started or self.failed)):
            if not gate.wait(self._timeout):
                self._late(index)
        if self.failed or self.scattered:
            raise UBatchCancelled

    def _late(self, index: int) -> None:
        """Raise WaitTimeoutError that says who waits where, for whom; nothing if the turn came just now."""
        if self.scattered or (self.holder == index and (self._started or self.failed)):
            return
        missing = [i + self.first for i in range(len(self._gates)) if i not in self._arrived]
        waiting = f"ubatches {', '.join(map(str, missing))}"
        awaited = self._named(self.holder) if self._started else waiting
        table = "; ".join(self._standing(i) for i in range(len(self._gates)))
        raise WaitTimeoutError(
            f"{self._named(index)} waited {self._timeout} s for {awaited} ({table});"
            " raise barrier_timeout if the work between two yields may take that long"
            f"\n{self._runtime.dump()}"
        )
