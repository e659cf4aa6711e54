"""Every schedule on the recording and the adversarial device: nothing unordered, and right under the worst
order."""

from __future__ import annotations

import gc
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.testing import AdversarialBackend, MemoryModel, RecordingBackend
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.recording.clocks import Clocks
from microbatch.testing.simulated.backend import SimulatedBackend
from microbatch.testing.strategies import work_orders
from tests.core.programs import plain, yielding

SCHEDULES = ("sequential", "parallel", "pingpong", "streamed")
ROWS = np.arange(22.0).reshape(11, 2)


def run(
    backend: SimulatedBackend, function: Any, schedule: str, ubatches: int, *, host: bool, driver: str
) -> None:
    """Inputs made on the caller's stream, outputs read there after the step."""
    with microbatch.wrap(
        function,
        backend=backend.name,
        plugins=GivenBackends(backend),
        schedule=schedule,
        num_ubatches=ubatches,
        policy="fixed",
        driver=driver,
    ) as wrapped:
        x = ROWS.copy() if host else backend.array(ROWS - 1) + 1
        result = wrapped(x)
        got = {name: np.asarray(value) for name, value in result.items()}
    expected = plain(ROWS)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)


CASES = [
    pytest.param(
        function, schedule, host, driver, id=f"{function.__name__}-{schedule}-{'host' if host else driver}"
    )
    for function in (plain, yielding)
    for schedule in SCHEDULES
    for host in ((False, True) if schedule == "streamed" else (False,))
    for driver in (("threads", "greenlets") if schedule == "pingpong" else ("threads",))
]


@pytest.mark.pitfall(9, 10, 11, 12)
@pytest.mark.parametrize(("function", "schedule", "host", "driver"), CASES)
def test_nothing_is_unordered(function: Any, schedule: str, host: bool, driver: str) -> None:
    device = RecordingBackend()
    run(device, function, schedule, 5, host=host, driver=driver)
    device.assert_ordered()
    assert not device.findings().waits_for_nothing


@pytest.mark.pitfall(9, 10, 11, 12)
@pytest.mark.parametrize("order", WORST_ORDERS, ids=lambda order: str(order.starved))
@pytest.mark.parametrize(("function", "schedule", "host", "driver"), CASES)
def test_the_result_is_right_in_the_worst_orders(
    function: Any, schedule: str, host: bool, driver: str, order: Any
) -> None:
    device = AdversarialBackend(order)
    run(device, function, schedule, 5, host=host, driver=driver)


@given(order=work_orders(), ubatches=st.integers(1, 9), case=st.sampled_from(CASES))
def test_the_result_is_right_in_any_order(order: Any, ubatches: int, case: Any) -> None:
    function, schedule, host, driver = case.values
    run(AdversarialBackend(order), function, schedule, ubatches, host=host, driver=driver)


class OnePair(RecordingBackend):
    """A device that lends no streams: all ubatches share one of each purpose."""

    lanes: Any = None


@pytest.mark.pitfall(8)
@pytest.mark.parametrize("kind", [RecordingBackend, OnePair])
def test_pitfall_8_an_event_recorded_after_the_hand_over_would_order_too_much(
    kind: type[RecordingBackend],
) -> None:
    """What ubatch 0 communicates must not wait for what ubatch 1 computes meanwhile: they are there to
    overlap."""
    device = kind()
    run(device, yielding, "pingpong", 2, host=False, driver="threads")
    clocks = Clocks()
    seen = {}
    for entry in device.trace.entries:
        agent, clock, _ = clocks.advance(entry)
        if entry.kind == "launch" and entry.ubatch is not None:
            lane = str(entry.stream).partition(" ")[0]
            seen.setdefault((entry.ubatch, lane, entry.label), (agent, clock[agent], dict(clock)))
    computing, tick, _ = seen[1, "compute", "multiply"]
    communicating = seen[0, "communication", "add"][2]
    assert communicating.get(computing, 0) < tick


def dropping(x: Any) -> Any:
    """Arrays of each lane are dropped while the other lane still reads them, and more are made than were
    dropped."""
    h = x * 2
    dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
    h = h + 1
    h = h * 2 - h
    dbo.dbo_yield_and_switch_from_comm_to_compute("combine")
    h = h * 3 + h * 0
    dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
    h = h + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute("combine")
    return (h - 1) + h * 0 + h * 0


@pytest.mark.pitfall(10)
@pytest.mark.parametrize("driver", ["threads", "greenlets"])
@pytest.mark.parametrize("ubatches", [2, 3, 4])
def test_nothing_is_unordered_where_a_ubatch_drops_what_another_lane_reads(
    ubatches: int, driver: str
) -> None:
    device = RecordingBackend()
    rows = np.arange(64.0).reshape(16, 4)
    with microbatch.wrap(
        dropping, backend=device.name, plugins=GivenBackends(device), schedule="pingpong",
        num_ubatches=ubatches, policy="fixed", driver=driver,
    ) as wrapped:  # fmt: skip
        for start in range(3):
            x = device.array(rows + start)
            np.testing.assert_array_equal(np.asarray(wrapped(x)), (2 * (rows + start) + 1) * 3)
    device.assert_ordered()


@pytest.mark.pitfall(10)
@pytest.mark.parametrize("schedule", ["pingpong", "streamed", "sequential"])
def test_nothing_is_unordered_between_callers_on_streams_of_their_own(schedule: str) -> None:
    """Two callers on streams of their own: neither is given what the other dropped and still reads."""
    device = RecordingBackend()
    rows = np.arange(64.0).reshape(16, 4)
    with microbatch.wrap(
        dropping, backend=device.name, plugins=GivenBackends(device), schedule=schedule,
        num_ubatches=2, policy="fixed",
    ) as wrapped:  # fmt: skip
        results = []
        for name in ("first", "second", "third"):
            with device.device.named(name).activate():
                x = device.array(rows)
                y = wrapped(x)
                results.append(y + 1)
                del x, y
        for result in results:
            np.testing.assert_array_equal(result.view, (2 * rows + 1) * 3 + 1)
    device.assert_ordered()


def from_comm(x: Any) -> Any:
    """Begins on the communication stream without waiting for anything; what it makes there is read by
    compute."""
    dbo.dbo_switch_to_comm()
    h = x + 1
    dbo.dbo_switch_to_compute_sync()
    return h * 2


def ending_anywhere(x: Any) -> Any:
    """The first ubatch returns what it communicated, the others what they computed."""
    if dbo.dbo_current_ubatch_id() == 0:
        dbo.dbo_switch_to_comm_sync()
    return x * 2


class FailingInComm:
    """Fails in every other step, while its communication still reads what it computed."""

    def __init__(self) -> None:
        self.fails = False

    def __call__(self, x: Any) -> Any:
        h = x * 2
        dbo.dbo_switch_to_comm_sync()
        g = h + 1
        if self.fails:
            raise KeyError("row")
        dbo.dbo_switch_to_compute_sync()
        return g * 1


@pytest.mark.pitfall(10)
@pytest.mark.parametrize("callers", [("first", "second"), ("first", "first", "second", "third", "third")])
@pytest.mark.parametrize("function", [from_comm, ending_anywhere, FailingInComm()])
def test_nothing_is_unordered_where_streams_of_a_step_go_to_another_caller(
    function: Any, callers: Any
) -> None:
    device = RecordingBackend()
    with microbatch.wrap(
        function,
        backend=device.name,
        plugins=GivenBackends(device),
        schedule="pingpong",
        num_ubatches=2,
        policy="fixed",
    ) as wrapped:
        for step, caller in enumerate(callers):
            if isinstance(function, FailingInComm):
                function.fails = step % 2 == 0
            with device.device.named(caller).activate():
                x = device.array(np.ones((16, 4)))
                with pytest.raises(KeyError) if getattr(function, "fails", False) else nullcontext():
                    wrapped(x) + 0
                del x
            gc.collect()  # what failed is dropped now, not some time later
    device.assert_ordered()


def test_streamed_leaves_nothing_pending() -> None:
    for host in (False, True):
        device = AdversarialBackend()
        with microbatch.wrap(
            plain, backend="adversarial", plugins=GivenBackends(device), schedule="streamed", num_ubatches=5
        ) as wrapped:
            wrapped(ROWS if host else device.array(ROWS))
        assert device.pending == 0


@pytest.mark.counted
@given(rows=st.integers(1, 40), ubatches=st.integers(1, 20), host=st.booleans())
def test_streamed_keeps_no_more_parts_alive_than_it_has_slots(rows: int, ubatches: int, host: bool) -> None:
    device = AdversarialBackend(model=MemoryModel(caching=False, granularity=1))
    x = np.zeros((rows, 64)) if host else device.array(np.zeros((rows, 64)))
    before = device.memory().in_use
    part = -(-rows // min(ubatches, rows)) * 64 * 8
    with microbatch.wrap(
        lambda x: x + 1, backend="adversarial", plugins=GivenBackends(device), schedule="streamed",
        num_ubatches=ubatches, policy="fixed",
    ) as wrapped:  # fmt: skip
        wrapped(x, out=np.empty((rows, 64)) if host else None)
    result = 0 if host else rows * 64 * 8
    assert device.memory().peak - before <= result + 3 * 2 * part


@pytest.mark.counted
@given(order=work_orders(), at=st.integers(0, 6), stage=st.sampled_from(["compute", "store"]))
def test_streamed_raises_the_first_error_and_drains(order: Any, at: int, stage: str) -> None:
    device = AdversarialBackend(order)
    seen = []

    def failing(x: Any) -> Any:
        seen.append(len(x))
        if len(seen) > at and stage == "compute":
            raise KeyError("row")
        return x if len(seen) <= at else x[:0]

    with microbatch.wrap(
        failing, backend="adversarial", plugins=GivenBackends(device), schedule="streamed", num_ubatches=7
    ) as wrapped:
        with pytest.raises(KeyError if stage == "compute" else ValueError):
            wrapped(device.array(np.ones((14, 2))))
        assert len(seen) <= at + 3
    assert device.pending == 0
    np.testing.assert_array_equal(np.asarray(device.array(ROWS) + 1), ROWS + 1)


def test_streamed_inside_streamed_ends() -> None:
    with (
        microbatch.wrap(plain, schedule="streamed", num_ubatches=2) as inner,
        microbatch.wrap(lambda x: inner(x)["wide"], schedule="streamed", num_ubatches=3) as outer,
    ):
        np.testing.assert_array_equal(outer(ROWS), plain(ROWS)["wide"])


@pytest.mark.counted
def test_streamed_reads_a_mapped_file_part_by_part(tmp_path: Any) -> None:
    shape = (4096, 64)
    mapped = np.lib.format.open_memmap(tmp_path / "in.npy", "w+", "f4", shape)
    mapped[:] = np.arange(4096, dtype="f4")[:, None]
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", "f4", shape)
    in_file = []

    def double(x: Any) -> Any:
        in_file.append(isinstance(x, np.memmap))
        return x * 2

    with microbatch.wrap(double, schedule="streamed", num_ubatches=16) as wrapped:
        wrapped(mapped, out=out)
        assert wrapped.last_report is not None
        assert wrapped.last_report.schedule == "streamed"
    assert in_file == [False] * 16
    np.testing.assert_array_equal(out, mapped * 2)
