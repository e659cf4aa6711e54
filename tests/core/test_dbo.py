"""vLLM's helpers: nothing outside a step; inside, turns, streams, events and receive hooks as theirs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import ThreadStateError
from microbatch.extend.device import device_of
from microbatch.extend.lanes import LanePool
from microbatch.schedules import pingpong
from microbatch.turns.context import UBatchContext
from microbatch.turns.handoff import ThreadRing
from microbatch.turns.kept_errors import without_frames
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.seat import make_seats
from microbatch.turns.step_lanes import lanes_of
from microbatch.turns.workers import WorkerPool
from tests.support.taking_turns import HostState, contexts, entered, make_step
from tests.support.threads import no_thread_left

RUNTIME = ThreadRuntime()
NAMES = {
    "dbo_current_ubatch_id", "dbo_current_ubatch_token_offset", "dbo_enabled", "dbo_get_previous_event",
    "dbo_maybe_run_recv_hook", "dbo_num_ubatches", "dbo_register_recv_hook", "dbo_switch_to_comm",
    "dbo_switch_to_comm_sync", "dbo_switch_to_compute", "dbo_switch_to_compute_sync", "dbo_yield",
    "dbo_yield_and_switch_from_comm_to_compute", "dbo_yield_and_switch_from_compute_to_comm",
}  # fmt: skip


WHERE = {"dbo_current_ubatch_id", "dbo_num_ubatches", "dbo_current_ubatch_token_offset"}
"""Those that say where the code runs, in a schedule without turns too."""
ARGUMENTS = {"dbo_register_recv_hook": (print,), "dbo_get_previous_event": (print,)}


class LoggedEvent:
    def __init__(self, device: LoggingDevice, number: int) -> None:
        self.device, self.number = device, number

    def record(self, stream: LoggedStream) -> None:
        self.device.note(f"record {self.number} on {stream.purpose}")


class LoggedStream:
    def __init__(self, device: LoggingDevice, purpose: str) -> None:
        self.device, self.purpose = device, purpose

    def wait(self, event: LoggedEvent) -> None:
        self.device.note(f"{self.purpose} waits for {event.number}")

    @contextmanager
    def activate(self) -> Iterator[None]:
        device, thread = self.device, self.device.thread()
        former = device.active.get(thread, "caller")
        device.active[thread] = self.purpose
        try:
            yield
        finally:
            assert device.thread() == thread, (
                "a stream was left in another thread than it was made current in"
            )
            device.active[thread] = former


class LoggingDevice:
    """An asynchronous device that only notes what it is told, and by which ubatch."""

    name, asynchronous = "logging", True

    def __init__(self) -> None:
        self.log: list[tuple[int | None, str]] = []
        self.active: dict[Any, str] = {}
        self._streams = {
            purpose: LoggedStream(self, purpose) for purpose in ("caller", "compute", "communication")
        }
        self._events = 0

    def thread(self) -> Any:
        return RUNTIME.current()

    def note(self, text: str) -> None:
        self.log.append((dbo.dbo_current_ubatch_id() if dbo.dbo_enabled() else None, text))

    def stream(self, purpose: str) -> LoggedStream:
        return self._streams[purpose]

    def current_stream(self) -> LoggedStream:
        return self._streams[self.active.get(self.thread(), "caller")]

    def current(self) -> str:
        return self.current_stream().purpose

    def event(self) -> LoggedEvent:
        self._events += 1
        return LoggedEvent(self, self._events)

    def thread_state(self) -> HostState:
        return HostState()


class LendingDevice(LoggingDevice):
    """One whose ubatches get streams of their own, named by purpose and number."""

    def __init__(self) -> None:
        super().__init__()
        self.free = 0
        self._numbers = {"compute": 0, "communication": 0}
        self._pool = LanePool(self._make)  # type: ignore[arg-type]

    def _make(self, purpose: str) -> LoggedStream:
        made = LoggedStream(self, f"{purpose} {self._numbers[purpose]}")
        self._numbers[purpose] += 1
        self._streams[made.purpose] = made
        return made

    @contextmanager
    def lanes(self, count: int) -> Iterator[Any]:
        try:
            with self._pool.lend(count) as pairs:
                yield pairs
        finally:
            self.free = len(self._pool._free[None])


@pytest.fixture(params=["threads", "greenlets"])
def driver(request: pytest.FixtureRequest) -> str:
    if request.param == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    return str(request.param)


def run(compute: Any, driver: str, count: int = 2, device: Any = None) -> None:
    with no_thread_left():
        pool = WorkerPool(RUNTIME)
        try:
            pingpong.run(
                make_step(RUNTIME, pool, count, compute, driver=driver, backend=device, barrier_timeout=20.0)
            )
        finally:
            pool.shutdown()


def test_names_are_those_of_vllm() -> None:
    assert set(dbo.__all__) == NAMES


@pytest.mark.bad_input(61)
def test_outside_a_step_nothing_happens() -> None:
    ran: list[int] = []
    assert dbo.dbo_enabled() is False
    assert dbo.dbo_current_ubatch_id() == 0
    assert dbo.dbo_get_previous_event(lambda: 1) is None
    dbo.dbo_register_recv_hook(lambda: ran.append(1))
    assert dbo.dbo_num_ubatches() == 1
    assert dbo.dbo_current_ubatch_token_offset() == 0
    for name in sorted(NAMES - WHERE - {"dbo_register_recv_hook", "dbo_get_previous_event"}):
        assert not getattr(dbo, name)()
    assert ran == []


def test_in_a_schedule_without_turns_nothing_happens_either() -> None:
    with entered(UBatchContext(UBatchSlice.from_range(5, 7, 0, 1), 3, 4, RUNTIME)):
        assert dbo.dbo_current_ubatch_id() == 3
        assert dbo.dbo_num_ubatches() == 4
        assert dbo.dbo_current_ubatch_token_offset() == 5
        assert dbo.dbo_enabled() is False
        for name in sorted(NAMES - WHERE - {"dbo_register_recv_hook", "dbo_get_previous_event"}):
            assert not getattr(dbo, name)()


@pytest.mark.pitfall(8)
def test_event_is_recorded_before_the_turn_is_passed_and_waited_for_after_it_is_back(driver: str) -> None:
    device = LoggingDevice()

    def compute(context: UBatchContext, ubatch: int) -> None:
        device.note("compute")
        dbo.dbo_yield_and_switch_from_compute_to_comm()
        device.note(f"send on {device.current()}")
        dbo.dbo_yield_and_switch_from_comm_to_compute()
        device.note(f"combine on {device.current()}")

    run(compute, driver, device=device)
    assert device.log == [
        (None, "record 1 on caller"),
        (0, "compute waits for 1"), (0, "compute"), (0, "record 2 on compute"),
        (1, "compute"), (1, "record 3 on compute"),
        (0, "communication waits for 1"), (0, "communication waits for 2"), (0, "send on communication"),
        (0, "record 4 on communication"),
        (1, "communication waits for 3"), (1, "send on communication"), (1, "record 5 on communication"),
        (0, "compute waits for 4"), (0, "combine on compute"),
        (1, "compute waits for 5"), (1, "combine on compute"),
        (None, "record 6 on compute"), (None, "caller waits for 6"),
        (None, "record 7 on communication"), (None, "caller waits for 7"),
    ]  # fmt: skip
    assert set(device.active.values()) == {"caller"}


def test_on_streams_of_its_own_a_ubatch_goes_on_after_the_one_before_on_that_lane(driver: str) -> None:
    device = LendingDevice()

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_yield_and_switch_from_compute_to_comm()
        dbo.dbo_yield_and_switch_from_comm_to_compute()

    run(compute, driver, device=device)
    assert device.log == [
        (None, "record 1 on caller"),
        (0, "compute 0 waits for 1"),
        (0, "record 2 on compute 0"),
        (1, "compute 1 waits for 2"),
        (1, "record 3 on compute 1"),
        (0, "communication 0 waits for 1"),
        (0, "communication 0 waits for 2"),
        (0, "record 4 on communication 0"),
        (1, "communication 1 waits for 4"),
        (1, "communication 1 waits for 3"),
        (1, "record 5 on communication 1"),
        (0, "compute 0 waits for 3"),
        (0, "compute 0 waits for 4"),
        (1, "record 6 on compute 0"),
        (1, "compute 1 waits for 6"),
        (1, "compute 1 waits for 5"),
        (None, "record 7 on compute 0"),
        (None, "caller waits for 7"),
        (None, "record 8 on compute 1"),
        (None, "caller waits for 8"),
        (None, "record 9 on communication 0"),
        (None, "caller waits for 9"),
        (None, "record 10 on communication 1"),
        (None, "caller waits for 10"),
        (None, "compute 0 waits for 9"),
        (None, "communication 0 waits for 7"),
        (None, "compute 1 waits for 10"),
        (None, "communication 1 waits for 8"),
    ]
    assert set(device.active.values()) == {"caller"} and device.free == 2


def test_streams_are_given_back_after_a_failure(driver: str) -> None:
    device = LendingDevice()

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_yield()
        raise ValueError("failed")

    for _ in range(2):
        with pytest.raises(ValueError, match="failed"):
            run(compute, driver, device=device)
        assert device.free == 2


def test_caller_is_joined_after_a_failure_too(driver: str) -> None:
    device = LoggingDevice()

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_switch_to_comm()
        dbo.dbo_yield()
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        run(compute, driver, device=device)
    assert [text for _, text in device.log[-4:]] == [
        "record 2 on compute", "caller waits for 2", "record 3 on communication", "caller waits for 3",
    ]  # fmt: skip
    assert set(device.active.values()) == {"caller"}


def test_the_end_of_a_step_puts_the_callers_stream_back() -> None:
    """Even where an interrupt kept the first ubatch from doing so."""
    device: Any = LoggingDevice()
    with lanes_of(device_of(device), 2) as lanes:
        ring = ThreadRing(RUNTIME, [RUNTIME.gate(), RUNTIME.gate()], None)
        seats = make_seats(contexts(2), ring, device, lanes)
        seats[0].streams.resume()
        assert device.current() == "compute"
        seats[0].streams.end()
    assert device.current() == "caller"


@pytest.mark.case(57)
def test_each_ubatch_finds_its_own_stream_after_a_yield(driver: str) -> None:
    device = LoggingDevice()
    seen: list[tuple[int, str]] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        if ubatch == 1:
            dbo.dbo_switch_to_comm()
        for _ in range(2):
            dbo.dbo_yield()
            seen.append((ubatch, device.current()))
        dbo.dbo_switch_to_compute()
        seen.append((ubatch, device.current()))

    run(compute, driver, device=device)
    assert sorted(set(seen)) == [(0, "compute"), (1, "communication"), (1, "compute")]


def test_ordered_switches_record_on_one_stream_and_wait_on_the_other(driver: str) -> None:
    device = LoggingDevice()

    def compute(context: UBatchContext, ubatch: int) -> None:
        if ubatch == 0:
            dbo.dbo_switch_to_comm_sync()
            dbo.dbo_switch_to_comm_sync()
            dbo.dbo_switch_to_compute_sync()
            dbo.dbo_switch_to_comm()
            dbo.dbo_switch_to_compute()

    run(compute, driver, device=device)
    assert [text for ubatch, text in device.log if ubatch == 0] == [
        "compute waits for 1",
        "record 2 on compute", "communication waits for 1", "communication waits for 2",
        "record 3 on communication", "compute waits for 3",
    ]  # fmt: skip


def test_last_event_of_a_ubatch_is_on_its_context(driver: str) -> None:
    device, events = LoggingDevice(), []

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_yield_and_switch_from_compute_to_comm()
        events.append(context.gpu_wait_event.number)

    run(compute, driver, device=device)
    assert events == [2, 3]


@pytest.mark.parametrize(
    ("first", "call", "remedy"),
    [
        ("dbo_switch_to_comm", "dbo_yield_and_switch_from_compute_to_comm", "dbo_switch_to_compute"),
        ("dbo_switch_to_compute", "dbo_yield_and_switch_from_comm_to_compute", "dbo_switch_to_comm"),
    ],
)
def test_a_switch_from_the_wrong_stream_names_the_remedy(
    first: str, call: str, remedy: str, driver: str
) -> None:
    def compute(context: UBatchContext, ubatch: int) -> None:
        getattr(dbo, first)()
        getattr(dbo, call)()

    with pytest.raises(ThreadStateError, match=remedy):
        run(compute, driver)


def test_previous_event_is_taken_on_the_compute_stream(driver: str) -> None:
    device, seen = LoggingDevice(), []

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_switch_to_comm()
        seen.append(dbo.dbo_get_previous_event(lambda *a, **k: (device.current(), a, k), 1, key=2))
        assert device.current() == "communication"

    run(compute, driver, device=device)
    assert seen == [("compute", (1,), {"key": 2})] * 2
    run(lambda c, x: seen.append(dbo.dbo_get_previous_event(lambda: "no streams")), driver)
    assert seen[-1] == "no streams"


def test_hook_runs_in_the_next_ubatch_oldest_first(driver: str) -> None:
    ran: list[tuple[str, int]] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        if ubatch == 0:
            for name in ("first", "second"):
                dbo.dbo_register_recv_hook(lambda name=name: ran.append((name, dbo.dbo_current_ubatch_id())))
        assert (ubatch, ran) != (0, [("first", 0)])
        dbo.dbo_yield()
        dbo.dbo_maybe_run_recv_hook()
        dbo.dbo_yield()

    run(compute, driver, count=3)
    assert ran == [("first", 1), ("second", 1)]


def test_hook_runs_when_its_ubatch_finishes_without_asking(driver: str) -> None:
    ran: list[int] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        if ubatch == 0:
            dbo.dbo_register_recv_hook(lambda: ran.append(dbo.dbo_current_ubatch_id()))
            dbo.dbo_yield()
            assert ran == [1], "ubatch 1 left without running the hook"

    run(compute, driver)
    assert ran == [1]


def test_hook_of_the_last_one_left_runs_at_once(driver: str) -> None:
    ran: list[int] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        if ubatch == 1:
            dbo.dbo_yield()
            dbo.dbo_register_recv_hook(lambda: ran.append(ubatch))
            assert ran == [1]

    run(compute, driver)
    assert ran == [1]


def test_a_finished_ubatch_gets_no_hooks(driver: str) -> None:
    """In vLLM the one that is left dereferences the emptied slot of the one that has gone."""
    ran: list[int] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        for _ in range(ubatch):
            dbo.dbo_yield()
        if ubatch == 2:
            dbo.dbo_yield()
            dbo.dbo_register_recv_hook(lambda: ran.append(dbo.dbo_current_ubatch_id()))

    run(compute, driver, count=3)
    assert ran == [2]


def test_code_that_outlives_its_step_does_nothing(driver: str) -> None:
    device, left_over = LendingDevice(), []

    def compute(context: UBatchContext, ubatch: int) -> None:
        left_over.append(copy_context())
        dbo.dbo_yield()
        if ubatch == 1:
            raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        run(compute, driver, device=device)
    noted = list(device.log)
    for variables in left_over:
        for name in sorted(NAMES - WHERE):
            assert not variables.run(getattr(dbo, name), *ARGUMENTS.get(name, ()))
    assert device.log == noted


def test_a_hook_that_nobody_ran_is_let_go_with_its_step(driver: str) -> None:
    class Payload:
        pass

    kept: list[weakref.ref[Payload]] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        payload = Payload()
        kept.append(weakref.ref(payload))
        dbo.dbo_register_recv_hook(lambda: payload)
        raise ValueError("failed")

    gc.disable()
    try:
        with pytest.raises(ValueError, match="failed") as caught:
            run(compute, driver)
        without_frames(caught.value)
        del caught
        assert [reference() for reference in kept] == [None]
    finally:
        gc.enable()


def test_greenlets_park_the_state_of_their_thread() -> None:
    pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    mode = ["base"]

    class Snapshot:
        def __init__(self) -> None:
            self.value = mode[0]

        @contextmanager
        def apply(self) -> Iterator[None]:
            former, mode[0] = mode[0], self.value
            try:
                yield
            finally:
                mode[0] = former

    class Device:
        name, asynchronous = "modes", False

        def thread_state(self) -> Snapshot:
            return Snapshot()

    def compute(context: UBatchContext, ubatch: int) -> None:
        assert mode == ["base"]
        mode[0] = f"mode of {ubatch}"
        for _ in range(ubatch + 1):
            dbo.dbo_yield()
            assert mode == [f"mode of {ubatch}"]

    run(compute, "greenlets", count=3, device=Device())
    assert mode == ["base"]


def test_a_mode_that_cannot_be_parked_is_refused_at_the_yield() -> None:
    pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")

    class Device:
        name, asynchronous = "modes", False
        depth = 0

        def mode_depth(self) -> int:
            return self.depth

        def thread_state(self) -> HostState:
            return HostState()

    device, passed = Device(), []

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_yield()
        passed.append(ubatch)
        device.depth += 1
        try:
            dbo.dbo_yield()
        finally:
            device.depth -= 1

    with pytest.raises(ThreadStateError, match="cannot be parked"):
        run(compute, "greenlets", device=device)
    assert device.depth == 0
    assert passed == [0], "a yield outside the mode is fine"


class Written:
    """A function that writes what it is given at its offset, as a capturer of routed experts does."""

    def __init__(self, rows: int, capacity: int) -> None:
        self.rows = np.zeros(rows, dtype=np.int64)
        self._capacity = capacity

    def __call__(self, x: Any) -> Any:
        assert 0 <= dbo.dbo_current_ubatch_id() < dbo.dbo_num_ubatches()
        start = dbo.dbo_current_ubatch_token_offset()
        dbo.dbo_yield()
        assert dbo.dbo_current_ubatch_token_offset() == start
        if len(x) > self._capacity:
            raise MemoryError("no room")
        self.rows[start : start + len(x)] += x
        return x


@pytest.mark.counted
@settings(max_examples=40)  # each makes a wrapper with threads
@given(
    rows=st.integers(1, 40),
    parts=st.integers(1, 4),
    capacity=st.integers(1, 40),
    schedule=st.sampled_from(["sequential", "parallel", "pingpong", "streamed"]),
)
def test_each_row_is_written_at_the_offset_of_its_part(
    rows: int, parts: int, capacity: int, schedule: str
) -> None:
    """Also where a part runs again in smaller ones, cut or whole."""
    x = np.arange(1, rows + 1)
    written = Written(rows, capacity)
    with microbatch.wrap(written, num_ubatches=parts, policy="fixed", schedule=schedule) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x)
    np.testing.assert_array_equal(written.rows, x)
    assert dbo.dbo_current_ubatch_token_offset() == 0


@pytest.mark.counted
def test_a_step_inside_a_ubatch_has_numbers_of_its_own(driver: str) -> None:
    seen: list[tuple[int, ...]] = []

    def where() -> tuple[int, ...]:
        return (
            dbo.dbo_current_ubatch_id(), dbo.dbo_num_ubatches(), dbo.dbo_current_ubatch_token_offset(),
        )  # fmt: skip

    def inner(x: Any) -> Any:
        seen.append(where())
        return x

    inside = microbatch.wrap(inner, num_ubatches=3, policy="fixed", schedule="sequential")

    def outer(x: Any) -> Any:
        if len(x) > 3:
            raise MemoryError("no room")
        before = where()
        inside(x)
        assert where() == before
        return x

    with microbatch.wrap(
        outer, num_ubatches=2, policy="fixed", schedule="pingpong", driver=driver
    ) as wrapped:
        wrapped(np.arange(12))
    assert seen == [(0, 3, 0), (1, 3, 1), (2, 3, 2)] * 4
