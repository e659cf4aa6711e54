"""Both rings against a plain model: a list of parties, the first of which has the turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from microbatch.turns.handoff import Ring, ThreadRing
from microbatch.turns.state import UBatchCancelled
from tests.support.deterministic import Stepper
from tests.support.deterministic.tasks import DetTask

Command = Callable[[], None]


class Model:
    """Who has the turn, who comes after whom, and which call of whom has not returned."""

    def __init__(self, parties: int) -> None:
        self.queue = list(range(parties))
        self.yields = [0] * parties
        self.labels = ["start"] * parties
        self.pending: dict[int, str] = {}
        """Party -> the call in which it waits."""
        self.outcomes: dict[int, list[str]] = {index: [] for index in range(parties)}
        self.failed = False
        self.scattered = False

    def returned(self, index: int, call: str) -> None:
        self.pending.pop(index, None)
        self.outcomes[index].append(f"{call} cancelled" if self.failed or self.scattered else call)

    def start(self, index: int) -> None:
        self.pending[index] = "start"
        if self.scattered:
            self.returned(index, "start")
        elif len(self.pending) == len(self.queue):
            self.returned(self.queue[0], "start")

    def hand_over(self, label: str) -> None:
        index = self.queue[0]
        if self.failed or self.scattered:
            self.returned(index, "yield")
            return
        self.yields[index] += 1
        self.labels[index] = label
        self.queue.append(self.queue.pop(0))
        self.pending[index] = "yield"
        self.wake()

    def leave(self) -> None:
        index = self.queue.pop(0)
        self.outcomes[index].append("leave")
        self.wake()

    def wake(self) -> None:
        if self.queue and self.queue[0] in self.pending:
            self.returned(self.queue[0], self.pending[self.queue[0]])

    def scatter(self) -> None:
        self.scattered = True
        for index, call in list(self.pending.items()):
            self.returned(index, call)


class RingMachine(RuleBasedStateMachine):
    """What both drivers have in common; the party that has the turn does one thing after another."""

    ring: Ring
    model: Model

    def perform(self, index: int, call: str, command: Command) -> None:
        """Have `index` make a call, and run everybody as far as he can."""
        raise NotImplementedError

    def recorded(self, index: int, call: str, command: Command) -> Command:
        """`command`, with what came of it noted."""

        def run() -> None:
            try:
                command()
            except UBatchCancelled:
                self.seen[index].append(f"{call} cancelled")
            else:
                self.seen[index].append(call)

        return run

    @property
    def begun(self) -> bool:
        """Whether the holder has the turn already."""
        return (
            hasattr(self, "model")
            and bool(self.model.queue)
            and "start" in str(self.model.outcomes[self.holder])
        )

    @property
    def holder(self) -> int:
        return self.model.queue[0]

    @precondition(lambda self: self.begun)
    @rule(label=st.sampled_from(["", "dispatch", "combine"]))
    def hand_over(self, label: str) -> None:
        index = self.holder
        self.model.hand_over(label)
        self.perform(index, "yield", lambda: self.ring.hand_over(index, label))

    @precondition(lambda self: self.begun)
    @rule(times=st.integers(1, 2))
    def leave(self, times: int) -> None:
        index = self.holder
        self.model.leave()
        self.perform(index, "leave", lambda: [self.ring.leave(index) for _ in range(times)] and None)

    @precondition(lambda self: self.begun)
    @rule()
    def fail(self) -> None:
        """The holder raised; what it does next is its own affair, but no yield of anybody goes on."""
        index = self.holder
        self.model.failed = True
        self.perform(index, "fail", lambda: self.ring.fail(index))
        self.model.outcomes[index].append("fail")

    @invariant()
    def the_ring_is_as_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        model, ring = self.model, self.ring
        assert self.seen == model.outcomes
        assert (ring.yields, ring.labels, ring.failed) == (model.yields, model.labels, model.failed)
        assert ring.left == [index not in model.queue for index in range(len(model.yields))]
        for index, following in zip(model.queue, [*model.queue[1:], *model.queue[:1]], strict=True):
            assert ring.after[index] == following
        if model.queue:
            assert ring.holder == model.queue[0]


class ThreadRingMachine(RingMachine):
    """Parties are tasks that carry out what they are told; the stepper runs them in a drawn order."""

    @initialize(parties=st.integers(1, 4))
    def make(self, parties: int) -> None:
        self.stepper = Stepper(max_steps=100_000)
        runtime = self.stepper.runtime
        self.told: dict[int, list[Command]] = {index: [] for index in range(parties)}
        self.seen: dict[int, list[str]] = {index: [] for index in range(parties)}
        self.ring = ThreadRing(runtime, [runtime.gate() for _ in range(parties)], None)
        self.wake_ups = [runtime.gate() for _ in range(parties)]
        self.model = Model(parties)
        self.tasks: list[DetTask] = [
            self.stepper.start(lambda i=index: self.party(i), name=f"party {index}")  # type: ignore[misc]
            for index in range(parties)
        ]
        self.order = list(range(parties))

    def party(self, index: int) -> None:
        while True:
            self.wake_ups[index].wait()
            for command in self.told[index]:
                command()
            self.told[index].clear()

    def perform(self, index: int, call: str, command: Command) -> None:
        self.told[index].append(self.recorded(index, call, command))
        self.wake_ups[index].open()
        self.settle()

    def settle(self) -> None:
        self.stepper.settle([self.tasks[index] for index in self.order])

    @rule(order=st.randoms(use_true_random=False))
    def run_in_another_order(self, order: Any) -> None:
        order.shuffle(self.order)

    @precondition(
        lambda self: any(not self.model.outcomes[i] and i not in self.model.pending for i in self.model.queue)
    )
    @rule(data=st.data())
    def start(self, data: Any) -> None:
        waiting = [i for i in self.model.queue if not self.model.outcomes[i] and i not in self.model.pending]
        index = data.draw(st.sampled_from(waiting))
        self.model.start(index)
        self.perform(index, "start", lambda: self.ring.start(index))

    @rule(times=st.integers(1, 2))
    def scatter(self, times: int) -> None:
        """From outside, as when the caller is interrupted."""
        for _ in range(times):
            self.ring.scatter()
        self.model.scatter()
        self.settle()

    @precondition(lambda self: len(self.model.queue) > 1)
    @rule(data=st.data())
    def fail_without_the_turn(self, data: Any) -> None:
        """As a party does whose set-up raised, or whose limit passed: its siblings unwind at once."""
        index = data.draw(st.sampled_from(self.model.queue[1:]))
        self.ring.fail(index)
        self.model.scatter()
        self.settle()

    @precondition(lambda self: len(self.model.queue) > 1)
    @rule(data=st.data())
    def leave_without_the_turn(self, data: Any) -> None:
        """Changes nothing: the turn is another's."""
        self.ring.leave(data.draw(st.sampled_from(self.model.queue[1:])))

    @rule(data=st.data())
    def stray_signal(self, data: Any) -> None:
        """A permit is not a turn."""
        data.draw(st.sampled_from(self.ring._gates)).open()  # type: ignore[attr-defined]
        self.settle()

    def teardown(self) -> None:
        if hasattr(self, "stepper"):
            self.stepper.close()


class GreenletRingMachine(RingMachine):
    """Parties are greenlets of the ring; whoever has nothing to do goes to the machine and asks."""

    @initialize(parties=st.integers(1, 4), parked=st.booleans())
    def make(self, parties: int, parked: bool) -> None:
        from contextlib import contextmanager

        from greenlet import getcurrent, greenlet

        from microbatch.turns.greenlets import GreenletRing

        self.parked: list[int] = []
        """Parties inside `parking`, in the order they entered."""

        @contextmanager
        def parking() -> Any:
            index = self.carriers.index(getcurrent())
            self.parked.append(index)
            try:
                yield
            finally:
                self.parked.remove(index)

        self.machine, self.current = getcurrent(), getcurrent
        self.told: list[tuple[int, Command]] = []
        self.seen: dict[int, list[str]] = {index: [] for index in range(parties)}
        self.model = Model(parties)
        self.ended: list[int] = []
        self.carriers: list[Any] = [None] * parties
        self.asking: Any = None
        self.errors: list[BaseException] = []
        ring = self.ring = GreenletRing(parties, parking if parked else None)
        self.uses_parking = parked
        bodies = [lambda i=index: self.party(i) for index in range(parties)]  # type: ignore[misc]
        for index in range(parties):
            self.model.start(index)
        greenlet(lambda: ring.carry(bodies, self.errors.append)).switch()

    @precondition(lambda self: not self.model.queue)
    @rule(parties=st.integers(1, 4), parked=st.booleans())
    def another_step(self, parties: int, parked: bool) -> None:
        self.make(parties, parked)

    def party(self, index: int) -> None:
        self.carriers[index] = self.current()
        self.recorded(index, "start", lambda: self.ring.start(index))()
        while index not in self.ended:
            self.asking = self.current()
            self.machine.switch()
            teller, command = self.told.pop()
            assert teller == index, "another party than the one that has the turn"
            command()

    def perform(self, index: int, call: str, command: Command) -> None:
        if call == "leave":
            self.ended.append(index)
        self.told.append((index, self.recorded(index, call, command)))
        self.asking.switch()

    @invariant()
    def whoever_waits_has_parked_its_state(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.errors == []
        waiting = self.model.queue[1:] if self.uses_parking else []
        assert sorted(self.parked) == sorted(waiting)

    def teardown(self) -> None:
        while hasattr(self, "model") and self.model.queue:
            self.leave(1)


TestThreadRing = ThreadRingMachine.TestCase
TestThreadRing.settings = settings(stateful_step_count=30)


class TestGreenletRing(GreenletRingMachine.TestCase):
    """Skipped where there are no greenlets."""

    settings = settings(stateful_step_count=30)

    def setUp(self) -> None:
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
