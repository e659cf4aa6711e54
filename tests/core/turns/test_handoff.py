"""Do the tests have teeth? Four bugs that hand-offs are known for are each found within 100 schedules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import WaitTimeoutError
from microbatch.schedules import pingpong
from microbatch.turns.barrier import UBatchBarrier
from microbatch.turns.gates import Gate
from microbatch.turns.handoff import Ring, ThreadRing
from microbatch.turns.state import UBatchCancelled
from microbatch.turns.workers import WorkerPool
from tests.support.deterministic import (
    BoundedSearch,
    DeadlockError,
    DetRuntime,
    Preemptions,
    RandomWalk,
    explore,
    explore_all,
    fastest_carrier,
    replay,
)
from tests.support.deterministic.drawn import switch_lists
from tests.support.taking_turns import Fault, TurnsProgram, order_of_work

Program = Callable[[DetRuntime], None]


class LostWakeUp(ThreadRing):
    """Signals the next, then clears its own gate, then waits: a signal in between is gone."""

    def hand_over(self, index: int, label: str = "") -> None:
        if self.failed or self.scattered:
            raise UBatchCancelled
        following = self.after[index]
        if following != index:
            self.holder = following
            self._gates[following].open()
            self._gates[index].wait(0)
            self._gates[index].wait(self._timeout)


class LateFlag(ThreadRing):
    """Wakes everybody, then says why."""

    def scatter(self) -> None:
        for gate in self._gates:
            gate.open()
        self._runtime.point("between")
        self.scattered = True


class ForgottenLeave(ThreadRing):
    """A ubatch that fails keeps the turn."""

    def leave(self, index: int) -> None:
        if not self.failed:
            super().leave(index)


def lapping(runtime: DetRuntime) -> None:
    """A barrier of one count: who comes round fast finds the slow ones still counted, and passes alone."""
    parties, inside, passed = 2, [0], [0, 0]
    gates = [runtime.gate() for _ in range(parties)]

    def wait(index: int) -> None:
        inside[0] += 1
        if inside[0] == parties:
            for gate in gates:
                gate.open()
        while inside[0] < parties:
            gates[index].wait()
        runtime.point("leaving")
        inside[0] -= 1

    def party(index: int) -> None:
        for round_number in (1, 2):
            passed[index] = round_number
            wait(index)
            assert min(passed) >= round_number, "lapped"

    tasks = [runtime.spawn(lambda i=i: party(i), name=f"party {i}") for i in range(parties)]  # type: ignore[misc]
    for task in tasks:
        task.join()


def with_ring(kind: type[Ring], fault: Fault | None, yields: tuple[int, ...] = (2, 2, 2)) -> Program:
    def program(runtime: DetRuntime) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pingpong, "ThreadRing", kind)
            TurnsProgram(yields, fault)(runtime)

    return program


BUGS: dict[str, Program] = {
    "lost wake-up": with_ring(LostWakeUp, None),
    "abort flag set after the wake-ups": with_ring(LateFlag, Fault(1, "setup")),
    "barrier lap": lapping,
    "forgotten leave": with_ring(ForgottenLeave, Fault(1, 1)),
}
SMALL: dict[str, Program] = {
    "lost wake-up": with_ring(LostWakeUp, None, (1, 1)),
    "abort flag set after the wake-ups": with_ring(LateFlag, Fault(0, "setup"), (0, 0)),
    "barrier lap": lapping,
    "forgotten leave": with_ring(ForgottenLeave, Fault(0, 1), (1, 1)),
}


@pytest.mark.case(16, 49, 50)
@pytest.mark.parametrize("strategy", ["random", "pct"])
@pytest.mark.parametrize("bug", BUGS)
def test_seeded_bug_is_found_within_100_schedules(bug: str, strategy: str) -> None:
    outcome = explore(BUGS[bug], range(100), strategy=strategy, carrier=fastest_carrier())
    assert isinstance(outcome.error, DeadlockError | AssertionError), f"{bug} was not found"


@pytest.mark.parametrize("bug", SMALL)
def test_seeded_bug_is_found_by_bounded_search_and_its_schedule_replays(bug: str) -> None:
    outcome = explore_all(SMALL[bug], preemptions=2, limit=100, carrier=fastest_carrier())
    assert outcome.error is not None, f"{bug} was not found"
    for carrier in ("threads", fastest_carrier()):
        with pytest.raises(type(outcome.error)):
            replay(SMALL[bug], outcome.choices, carrier=carrier)


@pytest.mark.case(53, 55)
@given(
    yields=st.lists(st.integers(0, 3), min_size=2, max_size=4),
    switches=switch_lists(tasks=5),
    spurious=st.integers(0, 4),
)
def test_ring_follows_the_model_under_drawn_preemptions(
    yields: list[int], switches: list[tuple[int, int]], spurious: int
) -> None:
    runtime = DetRuntime(Preemptions(switches), carrier=fastest_carrier(), spurious=spurious)
    program = TurnsProgram(yields)
    runtime.run(lambda: program(runtime))
    assert program.work_done == order_of_work(yields)


scripts = st.lists(st.sampled_from(["wait", "abort", "reset"]), min_size=1, max_size=4)


@given(
    script=st.lists(scripts, min_size=2, max_size=3),
    switches=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), max_size=4),
)
def test_barrier_is_usable_after_any_history(
    script: list[list[str]], switches: list[tuple[int, int]]
) -> None:
    """No history hangs (waits have limits), each trip gives each place once, and a reset makes it new."""

    def program(runtime: DetRuntime) -> None:
        barrier = UBatchBarrier(len(script), runtime, timeout=5.0)
        passed: dict[int, list[int]] = {}

        def party(operations: list[str]) -> None:
            for operation in operations:
                try:
                    if operation == "wait":
                        place = barrier.wait()
                        passed.setdefault(place, []).append(1)
                    else:
                        barrier.abort("script") if operation == "abort" else barrier.reset()
                except Exception as error:  # noqa: BLE001 - only its kind matters
                    assert type(error).__name__ in {"BarrierBrokenError", "WaitTimeoutError"}

        tasks = [runtime.spawn(lambda s=s: party(s), name="party") for s in script]  # type: ignore[misc]
        for task in tasks:
            task.join()
        assert len({len(passed.get(place, [])) for place in range(len(script))}) == 1, (
            "a round passed some of its parties"
        )
        barrier.reset()
        places: list[Any] = []
        tasks = [runtime.spawn(lambda: places.append(barrier.wait()), name="again") for _ in script]
        for task in tasks:
            task.join()
        assert sorted(places) == list(range(len(script)))

    runtime = DetRuntime(Preemptions(switches), carrier=fastest_carrier())
    runtime.run(lambda: program(runtime))


@pytest.mark.case(18)
@given(
    leaver=st.integers(0, 2), switches=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=4)
)
def test_who_leaves_the_ring_is_no_longer_waited_for(leaver: int, switches: list[tuple[int, int]]) -> None:
    """Three parties, one of which leaves at once; the other two go on among themselves, then each alone."""

    def program(runtime: DetRuntime) -> None:
        ring, order = ThreadRing(runtime, [runtime.gate() for _ in range(3)], None), []

        def party(index: int) -> None:
            ring.start(index)
            for _ in range(0 if index == leaver else 2):
                order.append(index)
                ring.hand_over(index)
            order.append(index)
            ring.leave(index)
            ring.leave(index)

        tasks = [runtime.spawn(lambda i=i: party(i), name=f"party {i}") for i in range(3)]  # type: ignore[misc]
        for task in tasks:
            task.join()
        yields = [0 if index == leaver else 2 for index in range(3)]
        assert order == [ubatch for ubatch, _ in order_of_work(yields)]
        assert ring.left == [True] * 3

    runtime = DetRuntime(Preemptions(switches), carrier=fastest_carrier())
    runtime.run(lambda: program(runtime))


@pytest.mark.case(19)
def test_a_scattered_ring_answers_every_call_at_once() -> None:
    """Alone on the deterministic runtime, where waiting would be a deadlock."""

    def program(runtime: DetRuntime) -> None:
        ring = ThreadRing(runtime, [runtime.gate() for _ in range(3)], None)
        ring.scatter()
        ring.scatter()
        for _ in range(2):
            with pytest.raises(UBatchCancelled):
                ring.start(0)
            with pytest.raises(UBatchCancelled):
                ring.hand_over(0)
        ring.fail(1)
        ring.leave(1)
        ring.leave(0)

    runtime = DetRuntime()
    runtime.run(lambda: program(runtime))


class LyingGate:
    """Says three times that the limit of a wait has passed: at once, or in the moment when the signal came.

    It takes no permit for a lie, as trio's lying lock does not take the lock; so the wait after one finds it.
    """

    def __init__(self, gate: Gate, *, at_once: bool) -> None:
        self._gate = gate
        self._at_once = at_once
        self._lies = 3
        self._lied = False

    def open(self) -> None:
        self._gate.open()

    def wait(self, timeout: float | None = None) -> bool:
        self._lied = timeout is not None and self._lies > 0 and not self._lied
        if not self._lied:
            return self._gate.wait(timeout)
        self._lies -= 1
        if not self._at_once:
            self._gate.wait()
            self._gate.open()
        return False


def lying(program: Program, *, at_once: bool) -> None:
    """Run `program` under drawn schedules on gates that lie."""
    for seed in range(60):
        runtime = DetRuntime(RandomWalk(seed), carrier=fastest_carrier())
        honest = runtime.gate
        lying_gate = partial(lambda gate: LyingGate(gate(), at_once=at_once), honest)
        runtime.gate = lying_gate  # type: ignore[method-assign]
        runtime.run(lambda runtime=runtime: program(runtime))  # type: ignore[misc]


@pytest.mark.case(54)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_gate_that_lies_loses_no_worker(at_once: bool) -> None:
    """The caller waits with a limit for a step that is sound: told that it has passed, it asks again."""

    def program(runtime: DetRuntime) -> None:
        pool, done = WorkerPool(runtime), []
        for number in range(2):
            bodies: list[Callable[[], None]] = [lambda: None, partial(done.append, number)]
            pool.run(bodies, limit=5.0, give_up=lambda: False)
        assert done == [0, 1]
        pool.shutdown()

    lying(program, at_once=at_once)


@pytest.mark.case(54)
@pytest.mark.parametrize("yields", [(1, 1), (2, 0, 1)])
def test_a_gate_that_lies_when_the_turn_has_come_loses_no_turn(yields: tuple[int, ...]) -> None:
    """Who is told that the limit passed looks whether it has the turn, and then it has."""
    lying(lambda runtime: TurnsProgram(yields, timeout=30.0)(runtime), at_once=False)


@pytest.mark.case(54)
def test_a_gate_that_lies_before_the_turn_came_is_a_limit_that_passed() -> None:
    def program(runtime: DetRuntime) -> None:
        with pytest.raises(WaitTimeoutError, match="waited 30.0 s for"):
            TurnsProgram((1, 1), timeout=30.0)(runtime)

    lying(program, at_once=True)


@pytest.mark.case(54)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_gate_that_lies_is_one_fate_for_all_at_the_barrier(at_once: bool) -> None:
    def program(runtime: DetRuntime) -> None:
        barrier, results = UBatchBarrier(2, runtime, timeout=5.0), []

        def party() -> None:
            try:
                results.append(str(barrier.wait()))
            except Exception as error:  # noqa: BLE001 - only its kind matters
                results.append(type(error).__name__)

        tasks = [runtime.spawn(party, name="party") for _ in range(2)]
        for task in tasks:
            task.join()
        broken = ["BarrierBrokenError", "WaitTimeoutError"]
        assert sorted(results) == ["0", "1"] or (at_once and sorted(results) == broken)

    lying(program, at_once=at_once)


def test_bounded_search_ends_and_repeats_no_schedule() -> None:
    seen: set[tuple[int, ...]] = set()
    search = BoundedSearch(1)
    for strategy in search:
        runtime = DetRuntime(strategy, carrier=fastest_carrier())
        runtime.run(lambda: TurnsProgram((1, 1))(runtime))  # noqa: B023 - run at once
        assert tuple(runtime.choices) not in seen
        seen.add(tuple(runtime.choices))
        assert sum(decision.preempts for decision in runtime.decisions) <= 1
        search.ran(runtime.decisions)
    assert len(seen) > 5


def test_standing_of_each_party_is_told() -> None:
    ring = ThreadRing(DetRuntime(), [], None)
    ring.after, ring.yields, ring.labels, ring.left = (
        [1, 2, 3, 0],
        [0, 2, 1, 0],
        ["start", "combine", "", "start"],
        [True, False, False, False],
    )
    ring.holder = 1
    assert [ring._standing(index) for index in range(4)] == [
        "ubatch 0 has finished",
        "ubatch 1 has the turn since yield 2 (combine)",
        "ubatch 2 waits at yield 1",
        "ubatch 3 waits at the start",
    ]


@pytest.mark.parametrize(
    ("state", "late"),
    [
        ({}, True),
        ({"_started": True}, True),
        ({"holder": 1}, True),
        ({"failed": True}, True),
        ({"scattered": True}, False),
        ({"holder": 1, "_started": True}, False),
        ({"holder": 1, "failed": True}, False),
    ],
    ids=str,
)
def test_a_limit_that_passed_is_forgotten_where_the_wait_was_over(state: dict[str, Any], late: bool) -> None:
    runtime = DetRuntime()
    ring = ThreadRing(runtime, [runtime.gate() for _ in range(2)], 5.0)
    for name, value in state.items():
        setattr(ring, name, value)
    if late:
        with pytest.raises(WaitTimeoutError, match="ubatch 1 waited 5.0 s for"):
            ring._late(1)
    else:
        ring._late(1)


class Noting(DetRuntime):
    """Notes which gates are said to belong together, and the labels of all points."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.gathered: list[Any] = []
        super().__init__(fault=self.labels.append)

    def gather(self, gates: Any) -> None:
        self.gathered.append(list(gates))


def test_every_yield_and_leave_is_a_point_and_the_gates_are_gathered() -> None:
    """Where a test may turn the schedule or let a fault strike; and what lets the threads share a core."""

    def program(runtime: DetRuntime) -> None:
        gates = [runtime.gate() for _ in range(2)]
        ring = ThreadRing(runtime, gates, None)

        def other() -> None:
            ring.start(1)
            ring.hand_over(1, "combine")
            ring.leave(1)

        task = runtime.spawn(other, name="other")
        ring.start(0)
        ring.hand_over(0, "dispatch")
        ring.leave(0)
        task.join()
        assert runtime.gathered == [gates]  # type: ignore[attr-defined]

    runtime = Noting()
    runtime.run(lambda: program(runtime))
    assert runtime.labels == ["dispatch", "combine", "leave", "leave"]


def test_a_yield_of_the_only_one_left_touches_no_gate() -> None:
    class Untouched:
        def open(self) -> None:
            pytest.fail("a gate was opened for nobody")

        def wait(self, timeout: float | None = None) -> bool:
            pytest.fail("the only one left waited for itself")

    def program(runtime: DetRuntime) -> None:
        ring = ThreadRing(runtime, [Untouched()], None)
        ring.start(0)
        ring.hand_over(0, "alone")
        assert (ring.yields, ring.labels) == ([1], ["alone"])

    runtime = DetRuntime()
    runtime.run(lambda: program(runtime))


def test_a_hand_over_that_ends_in_an_error_scatters_the_ring_itself() -> None:
    """Its caller may be interrupted before it can say that it failed."""

    def program(runtime: DetRuntime) -> None:
        ring, seen = ThreadRing(runtime, [runtime.gate() for _ in range(2)], 5.0), []

        def busy() -> None:
            ring.start(1)
            runtime.gate().wait(20.0)
            try:
                ring.hand_over(1)
            except UBatchCancelled:
                seen.append("cancelled")

        task = runtime.spawn(busy, name="busy")
        ring.start(0)
        with pytest.raises(WaitTimeoutError):
            ring.hand_over(0)
        assert ring.scattered
        task.join()
        assert seen == ["cancelled"]

    runtime = DetRuntime()
    runtime.run(lambda: program(runtime))
