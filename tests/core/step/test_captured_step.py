"""A whole step of ubatches that take turns, captured: the plain result, the same overlap, and nothing
unordered."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.binding.rules import Layout, query_start_loc, tokens
from microbatch.testing import AdversarialBackend, MemoryModel, RecordingBackend
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.recording.clocks import Clocks
from microbatch.testing.strategies import work_orders
from tests.core.programs import plain, yielding

DRIVERS = ("threads", "greenlets")


def wrapped(device: Any, function: Any = yielding, **options: Any) -> Any:
    options = {"policy": "fixed", "num_ubatches": 2, "schedule": "pingpong", "graphs": True, **options}
    return microbatch.wrap(function, backend=device.name, plugins=GivenBackends(device), **options)


def batch(rows: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + rows * 2.0).reshape(rows, 2)


def run(device: Any, wrapper: Any, rows: int, start: int) -> None:
    """Inputs made on the caller's stream just before, outputs read there just after."""
    result = wrapper(device.array(batch(rows, start) - 1) + 1)
    for name, expected in plain(batch(rows, start)).items():
        np.testing.assert_array_equal(np.asarray(result[name]), expected)


@pytest.mark.parametrize("driver", DRIVERS)
@given(
    rows=st.lists(st.integers(2, 13), min_size=1, max_size=4),
    ubatches=st.integers(2, 4),
    padded=st.booleans(),
    order=work_orders(),
)
def test_any_sequence_of_sizes_is_right_in_any_order_of_the_device(
    driver: str, rows: list[int], ubatches: int, padded: bool, order: Any
) -> None:
    device = AdversarialBackend(order)
    sizes = (2, 4) if padded else None
    with wrapped(device, driver=driver, num_ubatches=ubatches, graph_sizes=sizes) as wrapper:
        for start, size in enumerate([*rows, rows[0]]):
            run(device, wrapper, size, start)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("order", WORST_ORDERS, ids=lambda order: str(order.starved))
def test_replays_are_right_in_the_worst_orders(driver: str, order: Any) -> None:
    device = AdversarialBackend(order)
    with wrapped(device, driver=driver, num_ubatches=3) as wrapper:
        for start in range(4):
            run(device, wrapper, 7, start)
        assert wrapper.last_report.graph_hits == 3


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_is_unordered_and_the_report_says_what_was_replayed(driver: str) -> None:
    device = RecordingBackend()
    with wrapped(device, driver=driver) as wrapper:
        counts = []
        for start in range(3):
            run(device, wrapper, 9, start)
            report = wrapper.last_report
            counts.append((report.graph_captures, report.graph_hits, report.calibration))
            assert report.sizes == (5, 4) and report.schedule == "pingpong"
    assert counts == [(1, 0, True), (0, 2, False), (0, 2, False)]
    assert report.ubatch_seconds == ()
    device.assert_ordered()
    assert not device.findings().waits_for_nothing


def test_a_replay_overlaps_what_the_step_overlaps() -> None:
    """Inside the graph too, what ubatch 0 communicates does not wait for what ubatch 1 computes meanwhile."""
    device = RecordingBackend()
    with wrapped(device) as wrapper:
        run(device, wrapper, 8, 0)
        device.trace.clear()
        run(device, wrapper, 8, 1)
    clocks, seen = Clocks(), list[tuple[str, Any, dict[Any, int]]]()
    for entry in device.trace.entries:
        agent, clock, _ = clocks.advance(entry)
        if entry.label.startswith("graph: ") and entry.accesses:
            seen.append((entry.label.removeprefix("graph: "), agent, dict(clock)))
    computing = [(agent, clock[agent]) for label, agent, clock in seen if label == "multiply"][1]
    communicating = next(clock for label, _, clock in seen if label == "add")
    assert communicating.get(computing[0], 0) < computing[1]


def test_buckets_are_captured_at_once_and_then_always_hit() -> None:
    device = RecordingBackend()
    with wrapped(device, graph_sizes=(2, 4)) as wrapper:
        for start, rows in enumerate(range(2, 9)):
            run(device, wrapper, rows, start)
        hits = []
        for start, rows in enumerate(range(2, 9)):
            run(device, wrapper, rows, 50 + start)
            hits.append((wrapper.last_report.graph_hits, wrapper.last_report.graph_captures))
    assert hits == [(2, 0)] * 7


def test_split_and_unsplit_are_kept_side_by_side() -> None:
    device, sizes = RecordingBackend(), [None, 4, None, 4]
    with wrapped(device, plain) as wrapper:
        for start, slices in enumerate(sizes):
            cut = None if slices is None else [microbatch.UBatchSlice.from_range(0, 8, 0, 8)]
            result = wrapper(device.array(batch(8, start)), ubatch_slices=cut)
            np.testing.assert_array_equal(np.asarray(result["sum"]), plain(batch(8, start))["sum"])
        assert wrapper.last_report.graph_hits == 1 and wrapper.last_report.graph_captures == 0


def test_ubatches_of_other_sizes_are_another_graph() -> None:
    device, hits = RecordingBackend(), []
    cuts = [[(0, 3), (3, 8)], [(0, 4), (4, 8)], [(0, 3), (3, 8)]]
    with wrapped(device, plain) as wrapper:
        for start, edges in enumerate(cuts):
            pieces = [microbatch.UBatchSlice.from_range(low, high, low, high) for low, high in edges]
            result = wrapper(device.array(batch(8, start)), ubatch_slices=pieces)
            np.testing.assert_array_equal(np.asarray(result["wide"]), plain(batch(8, start))["wide"])
            hits.append(wrapper.last_report.graph_hits)
    assert hits == [0, 0, 2]


class OneThread(RecordingBackend):
    """A device whose captures hold what one thread launches."""

    captures_threads = False


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_capture_of_one_thread_takes_greenlets_only(driver: str) -> None:
    device = OneThread()
    with wrapped(device, driver=driver) as wrapper:
        for start in range(2):
            run(device, wrapper, 8, start)
        report = wrapper.last_report
    assert report.graph_hits == (2 if driver == "greenlets" else 0)
    assert ("use driver='greenlets'" in report.reason) == (driver == "threads")


def test_what_depends_on_values_is_not_captured() -> None:
    device, offsets = RecordingBackend(), np.array([0, 2, 6, 8])
    layout = Layout(inputs={"x": tokens(), "starts": query_start_loc()}, outputs={"output": tokens()})
    with wrapped(device, lambda x, starts: x * len(starts), layout=layout) as wrapper:
        for start in range(2):
            wrapper(device.array(batch(8, start)), offsets)
        assert wrapper.last_report.graph_captures == 0 and "depends on values" in wrapper.last_report.reason


def test_a_result_that_goes_to_the_caller_is_not_captured() -> None:
    device = RecordingBackend()
    with wrapped(device, lambda x: x * 2) as wrapper:
        out = device.array(batch(8))
        for _ in range(2):
            wrapper(device.array(batch(8)), out=out)
        assert wrapper.last_report.graph_hits == 0 and "out=" in wrapper.last_report.reason
        np.testing.assert_array_equal(np.asarray(out), batch(8) * 2)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_failed_capture_leaves_streams_and_wrapper_usable_and_says_why(driver: str) -> None:
    device = RecordingBackend()

    def reading(x: Any) -> Any:
        dbo.dbo_yield()
        return {"wide": (x * 2 + 1) * 3, "sum": (x - 1).sum(axis=1) + float(x[0, 0]) * 0}

    with wrapped(device, reading, driver=driver) as wrapper:
        run(device, wrapper, 8, 0)
        assert "cannot be captured: CaptureRefusedError" in wrapper.last_report.reason
        run(device, wrapper, 8, 1)
        assert wrapper.last_report.graph_captures == 0
    assert all(stream.capture is None for stream in device.device.streams.values())
    device.assert_ordered()


@pytest.mark.counted
def test_eager_work_of_another_thread_is_not_captured() -> None:
    device, other, values = RecordingBackend(), list[Any](), []

    def beside() -> None:
        with device.stream("compute").activate():
            other.append(np.asarray(device.array(np.ones(3)) * len(other)))

    def function(x: Any) -> Any:
        if x.shape[0] == 4:
            thread = threading.Thread(target=beside)
            thread.start()
            thread.join()
            values.append(len(other))
        dbo.dbo_yield()
        return plain(x)

    with wrapped(device, function) as wrapper:
        for start in range(3):
            run(device, wrapper, 8, start)
        assert wrapper.last_report.graph_hits == 2
    assert len(other) == 6, "two ubatches each in the step, the run before the capture, and the capture"
    for number, array in enumerate(other):
        np.testing.assert_array_equal(array, np.ones(3) * number)


@pytest.mark.counted
def test_a_function_that_mixes_rows_is_not_padded() -> None:
    device = RecordingBackend()
    with wrapped(device, lambda x: x - x.mean(axis=0), graph_sizes=(4,)) as wrapper:
        for start, rows in enumerate((6, 6, 8, 8)):
            values = batch(rows, start)
            expected = np.concatenate([half - half.mean(axis=0) for half in np.array_split(values, 2)])
            np.testing.assert_allclose(np.asarray(wrapper(device.array(values))), expected)


def test_running_out_of_memory_in_a_capture_is_survived() -> None:
    device = RecordingBackend(MemoryModel(capacity=4096, caching=False))
    with wrapped(device, lambda x: ((x * 2) + (x * 3)) * 1) as wrapper:
        for start in range(3):
            values = batch(48, start)
            np.testing.assert_array_equal(np.asarray(wrapper(device.array(values))), values * 5)
        assert wrapper.last_report.graph_hits == 0
        assert "graphs: " in wrapper.last_report.reason


@pytest.mark.counted
def test_the_error_of_a_ubatch_reaches_the_caller() -> None:
    device = RecordingBackend()

    def failing(x: Any) -> Any:
        dbo.dbo_yield()
        if float(x[0, 0]) > 5:
            raise KeyError("row")
        return x

    with wrapped(device, failing) as wrapper, pytest.raises(KeyError, match="row"):
        wrapper(device.array(batch(8)))


def test_progress_is_told_of_a_replay() -> None:
    device, told = RecordingBackend(), list[tuple[int, int]]()
    with wrapped(device, progress=lambda done, total: told.append((done, total))) as wrapper:
        run(device, wrapper, 8, 0)
        told.clear()
        run(device, wrapper, 8, 1)
    assert told == [(8, 8)]


def test_graphs_go_before_the_threads_they_were_captured_in() -> None:
    device = RecordingBackend()
    wrapper = wrapped(device)
    run(device, wrapper, 8, 0)
    engine = wrapper._engine
    assert len(engine._graphs.cache) == 1 and engine._runner.workers.num_threads == 1
    wrapper.shutdown()
    assert len(engine._graphs.cache) == 0 and engine._runner.workers.num_threads == 0
