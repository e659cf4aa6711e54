"""The barrier against a plain model: a list of who waits, a reason or none, and a count of rounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from microbatch.errors import BarrierBrokenError, WaitTimeoutError
from microbatch.turns.barrier import UBatchBarrier
from microbatch.turns.gates import Gate
from tests.support.deterministic import Stepper
from tests.support.deterministic.tasks import DetTask


@dataclass
class Party:
    """One thread that comes to the barrier once or twice."""

    visits: int
    expected: list[Any] = field(default_factory=list)
    """What each visit must come to: a place, or the name of an error."""
    results: list[Any] = field(default_factory=list)
    task: DetTask | None = None
    gate: Gate | None = None
    """What it waits in now."""
    interrupted: bool = False


class InterruptibleGate:
    """A wait in it ends with KeyboardInterrupt where its party is to be interrupted."""

    def __init__(self, gate: Gate, party: Party) -> None:
        self._gate, self._party = gate, party
        party.gate = gate

    def open(self) -> None:
        self._gate.open()

    def wait(self, timeout: float | None = None) -> bool:
        passed = self._gate.wait(timeout)
        if self._party.interrupted:
            self._party.interrupted = False
            raise KeyboardInterrupt
        return passed


orders = st.randoms(use_true_random=False)


class BarrierMachine(RuleBasedStateMachine):
    """Every rule is one event; then everybody runs as far as he can, in a drawn order."""

    @initialize(parties=st.integers(1, 4))
    def make(self, parties: int) -> None:
        self.stepper = Stepper()
        self.fails = self.failing = False
        self.acted = 0
        self.barrier = UBatchBarrier(parties, self.stepper.runtime, action=self.action)
        self.count, self.rounds, self.broken, self.trips = parties, 0, False, 0
        self.waiting: list[Party] = []
        self.everybody: list[Party] = []
        self.free: list[Party] = []
        """Who is at no barrier and may come again."""
        honest = self.stepper.runtime.gate
        current = self.stepper.runtime.current

        def gate() -> Any:
            party = next(
                (p for p in self.everybody if p.task is not None and p.task.number == current()), None
            )
            return honest() if party is None else InterruptibleGate(honest(), party)

        self.stepper.runtime.gate = gate  # type: ignore[method-assign]

    def action(self) -> None:
        self.acted += 1
        if self.failing:
            self.failing = False
            raise ValueError("the action failed")

    @rule(visits=st.integers(1, 2), limit=st.sampled_from([None, 5.0]), order=orders)
    def arrive(self, visits: int, limit: float | None, order: Any) -> None:
        party = Party(visits)
        self.everybody.append(party)
        party.task = self.stepper.start(lambda: self.visit(party, limit), name=f"party {len(self.everybody)}")
        self.free.append(party)
        self.settle(order)

    def visit(self, party: Party, limit: float | None) -> None:
        for _ in range(party.visits):
            try:
                party.results.append(self.barrier.wait(limit))
            except (BarrierBrokenError, WaitTimeoutError, KeyboardInterrupt, ValueError) as error:
                party.results.append(type(error).__name__)

    @rule(order=orders)
    def abort(self, order: Any) -> None:
        self.barrier.abort("aborted")
        self.break_for()
        self.settle(order)

    @rule(order=orders)
    def reset(self, order: Any) -> None:
        """Those who come again come to the new round."""
        self.barrier.reset()
        self.break_for()
        self.broken, self.rounds = False, self.rounds + 1
        self.settle(order)

    @precondition(lambda self: bool(self.waiting))
    @rule(data=st.data(), order=orders)
    def limit_passes(self, data: Any, order: Any) -> None:
        party = data.draw(st.sampled_from(self.waiting))
        if self.stepper.expire(party.task):
            self.break_for(party, "WaitTimeoutError")
            self.settle(order)

    @precondition(lambda self: bool(self.waiting))
    @rule(data=st.data(), order=orders)
    def interrupt(self, data: Any, order: Any) -> None:
        party = data.draw(st.sampled_from(self.waiting))
        party.interrupted = True
        party.gate.open()
        while party.interrupted:
            assert self.stepper.advance(party.task)
        self.break_for(party, "KeyboardInterrupt")
        self.settle(order)

    @rule()
    def next_action_fails(self) -> None:
        self.fails = self.failing = True

    def break_for(self, party: Party | None = None, name: str = "") -> None:
        """In the model: `party` leaves with the error called `name`, the others with a broken barrier."""
        self.broken = True
        for member in self.waiting:
            member.expected.append(name if member is party else "BarrierBrokenError")
        self.free += self.waiting
        self.waiting = []

    def model_visit(self, party: Party) -> None:
        """In the model: `party` comes to the barrier."""
        if self.broken:
            party.expected.append("BarrierBrokenError")
            self.free.append(party)
            return
        self.waiting.append(party)
        if len(self.waiting) < self.count:
            return
        self.trips += 1
        if self.fails:
            self.fails = False
            self.break_for(party, "ValueError")
            return
        self.rounds += 1
        for place, member in enumerate(reversed(self.waiting)):
            member.expected.append(place)
        self.free += self.waiting
        self.waiting = []

    def settle(self, order: Any) -> None:
        """Let everybody run in a drawn order, each as far as he can; in the model first."""
        parties = list(self.everybody)
        order.shuffle(parties)
        while self.free:
            for party in parties:
                while party in self.free:
                    self.free.remove(party)
                    if len(party.expected) < party.visits:
                        self.model_visit(party)
        self.stepper.settle([party.task for party in parties if party.task is not None])

    @invariant()
    def everybody_got_what_the_model_says(self) -> None:
        if not hasattr(self, "stepper"):
            return
        for party in self.everybody:
            assert party.results == party.expected
        assert self.barrier.generation == self.rounds
        assert self.barrier.broken == self.broken
        assert self.barrier.n_waiting == len(self.waiting)
        assert self.acted == self.trips

    def teardown(self) -> None:
        if hasattr(self, "stepper"):
            self.stepper.close()


TestBarrier = BarrierMachine.TestCase
TestBarrier.settings = settings(stateful_step_count=25)
