"""`graphs=True` through the front door, on the simulated devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import optree
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.arrays.trees import NAMESPACE
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.testing import AdversarialBackend, RecordingBackend
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.strategies import work_orders

ROWS = np.arange(8.0).reshape(4, 2)


def double(x: Any) -> Any:
    return x * 2 + 1


def wrapped(device: Any, **options: Any) -> Any:
    options = {"policy": "fixed", "num_ubatches": 2, "schedule": "sequential", "graphs": True, **options}
    return microbatch.wrap(double, backend=device.name, plugins=GivenBackends(device), **options)


def run(device: Any, wrapper: Any, rows: int, start: int) -> None:
    values = np.arange(start, start + rows * 2.0).reshape(rows, 2)
    np.testing.assert_array_equal(np.asarray(wrapper(device.array(values))), values * 2 + 1)


def test_the_report_counts_captures_and_hits() -> None:
    device = RecordingBackend()
    with wrapped(device) as wrapper:
        counts = []
        for start in range(3):
            run(device, wrapper, 8, start)
            report = wrapper.last_report
            counts.append((report.graph_captures, report.graph_hits, report.calibration))
    assert counts == [(1, 1, True), (0, 2, False), (0, 2, False)]
    device.assert_ordered()


class Pair:
    """A container of somebody else's."""

    def __init__(self, left: Any, right: Any) -> None:
        self.left, self.right = left, right


@pytest.fixture
def registered() -> Iterator[None]:
    """`Pair` as a hook for containers would make it known."""
    optree.register_pytree_node(
        Pair, lambda pair: ((pair.left, pair.right), None), lambda _, both: Pair(*both), namespace=NAMESPACE
    )
    yield
    optree.unregister_pytree_node(Pair, namespace=NAMESPACE)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("overlapping", [False, True])
def test_a_registered_container_is_replayed_as_often_as_a_dict(overlapping: bool) -> None:
    def in_dicts(batch: dict[str, Any]) -> dict[str, Any]:
        return {"left": batch["left"] * 2, "right": batch["right"] + 1}

    def in_pairs(batch: Pair) -> Pair:
        return Pair(batch.left * 2, batch.right + 1)

    schedule = {"schedule": "pingpong", "driver": "threads"} if overlapping else {"schedule": "sequential"}
    hits: list[list[int]] = []
    for function, make in ((in_dicts, dict), (in_pairs, Pair)):
        device, counted = RecordingBackend(), list[int]()
        with microbatch.wrap(
            function, backend=device.name, plugins=GivenBackends(device), policy="fixed", num_ubatches=2,
            graphs=True, **schedule,
        ) as wrapper:  # fmt: skip
            for start in range(3):
                values = np.arange(start, start + 16.0).reshape(8, 2)
                result = wrapper(make(left=device.array(values), right=device.array(values)))
                left, right = (
                    (result["left"], result["right"]) if make is dict else (result.left, result.right)
                )
                np.testing.assert_array_equal(np.asarray(left), values * 2)
                np.testing.assert_array_equal(np.asarray(right), values + 1)
                counted.append(wrapper.last_report.graph_hits)
        hits.append(counted)
    assert hits[0] == hits[1] and hits[0][-1] == 2


@given(rows=st.lists(st.integers(1, 17), min_size=1, max_size=5), padded=st.booleans(), order=work_orders())
def test_replays_are_right_in_any_order_of_the_device(rows: list[int], padded: bool, order: Any) -> None:
    device = AdversarialBackend(order)
    with wrapped(device, graph_sizes=(4, 8) if padded else None) as wrapper:
        for start, size in enumerate(rows):
            run(device, wrapper, size, start)


@pytest.mark.pitfall(17)
def test_replays_on_several_streams_wait_for_each_other() -> None:
    device = RecordingBackend()
    with wrapped(device, num_ubatches=1) as wrapper:
        run(device, wrapper, 4, 0)
        x, made = device.array(np.ones((4, 2))), device.event()
        made.record(device.current_stream())
        results = []
        for purpose in ("compute", "communication", "copy_in"):
            device.stream(purpose).wait(made)
            with device.stream(purpose).activate():
                results.append(wrapper(x))
        assert wrapper.last_report.graph_hits == 1
        for purpose in ("compute", "communication", "copy_in"):
            device.stream(purpose).synchronize()
        for result in results:
            np.testing.assert_array_equal(np.asarray(result), np.full((4, 2), 3.0))
    device.assert_ordered()


@pytest.mark.pitfall(15)
@pytest.mark.parametrize("joins", [True, False])
@pytest.mark.parametrize("make", [RecordingBackend, AdversarialBackend])
def test_a_stream_that_was_not_joined_is_refused_and_the_step_runs_without_a_graph(
    make: Any, joins: bool
) -> None:
    device, kept = make(), []

    def forking(x: Any) -> Any:
        main, side, event = device.current_stream(), device.stream("communication"), device.event()
        event.record(main)
        side.wait(event)
        with side.activate():
            kept.append(x + 3)
        if joins:
            event.record(side)
            main.wait(event)
        return x * 2

    with microbatch.wrap(
        forking, backend=device.name, plugins=GivenBackends(device), graphs=True, num_ubatches=1,
        policy="fixed", schedule="sequential",
    ) as wrapper:  # fmt: skip
        for start in range(3):
            np.testing.assert_array_equal(np.asarray(wrapper(device.array(ROWS + start))), (ROWS + start) * 2)
        report = wrapper.last_report
    assert report.graph_hits == joins
    assert ("unjoined work on communication" in report.reason) != joins
    assert not device.device.in_capture
    assert device.capture(lambda: device.array(ROWS))[0].bytes_held() == 0


@pytest.mark.pitfall(18)
def test_a_graph_keeps_its_inputs_to_itself() -> None:
    """It was captured on arrays of its own: it writes into no caller's, and reads none that has been
    freed."""
    device = AdversarialBackend()
    with wrapped(device, num_ubatches=1) as wrapper:
        first = device.array(ROWS)
        wrapper(first)
        run(device, wrapper, len(ROWS), 100)
        assert wrapper.last_report.graph_hits == 1
        np.testing.assert_array_equal(np.asarray(first), ROWS)
        del first
        poison = device.array(np.full_like(ROWS, np.nan))
        run(device, wrapper, len(ROWS), 200)
        assert np.isnan(np.asarray(poison)).all()


def test_a_streamed_step_replays_the_calls_of_its_ubatches() -> None:
    device = RecordingBackend()
    host = np.arange(16.0).reshape(8, 2)
    with wrapped(device, schedule="streamed", num_ubatches=4) as wrapper:
        for start in range(3):
            np.testing.assert_array_equal(
                wrapper(host + start, out=np.empty_like(host)), (host + start) * 2 + 1
            )
        assert (wrapper.last_report.graph_captures, wrapper.last_report.graph_hits) == (0, 4)
    device.assert_ordered()


@given(rows=st.lists(st.integers(1, 9), min_size=1, max_size=4), order=work_orders())
def test_streamed_replays_are_right_in_any_order_of_the_device(rows: list[int], order: Any) -> None:
    device = AdversarialBackend(order)
    with wrapped(device, schedule="streamed", num_ubatches=3, graph_sizes=(2, 4)) as wrapper:
        for start, size in enumerate(rows):
            values = np.arange(start, start + size * 2.0).reshape(size, 2)
            np.testing.assert_array_equal(wrapper(values, out=np.empty_like(values)), values * 2 + 1)


@pytest.mark.parametrize(
    ("given_", "kept"),
    [((8, 2, 8), (2, 8)), ([4], (4,)), ({8, 2}, (2, 8)), (None, None), (np.array([3]).tolist(), (3,))],
)
def test_sizes_are_sorted(given_: Any, kept: Any) -> None:
    assert microbatch.UBatchConfig(graph_sizes=given_).graph_sizes == kept


@pytest.mark.parametrize("wrong", [(), (0,), "a,b", ""])
def test_wrong_sizes_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentValueError, match="graph_sizes"):
        microbatch.UBatchConfig(graph_sizes=wrong)


@pytest.mark.parametrize("wrong", [8, True, 1.5, (True,), ("4",), {4: 4}])
def test_sizes_of_a_wrong_kind_are_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="graph_sizes"):
        microbatch.UBatchConfig(graph_sizes=wrong)


def test_sizes_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_GRAPH_SIZES", "8,2")
    with microbatch.wrap(double) as wrapper:
        assert wrapper.config.graph_sizes == (2, 8)


class Scaling:
    """Looks like a module; adds one while it trains."""

    training = False

    def buffers(self) -> list[Any]:
        return []

    def __call__(self, x: Any) -> Any:
        return x * 2 + (2 if self.training else 1)


def test_a_module_that_begins_to_train_is_not_replayed_as_it_was() -> None:
    device, module = RecordingBackend(), Scaling()
    with microbatch.wrap(
        module, backend=device.name, plugins=GivenBackends(device), policy="fixed", num_ubatches=2,
        schedule="sequential", graphs=True,
    ) as wrapper:  # fmt: skip
        for training in (False, False, True, True, False):
            module.training = training
            result = wrapper(device.array(np.ones((8, 2))))
            np.testing.assert_array_equal(np.asarray(result), np.full((8, 2), 4.0 if training else 3.0))
        assert wrapper.last_report.graph_hits == 2


def test_misses_are_counted() -> None:
    device = RecordingBackend()
    with wrapped(device) as wrapper:
        for start, expected in ((0, (1, 1, 1)), (1, (2, 0, 0))):
            run(device, wrapper, 8, start)
            report = wrapper.last_report
            assert (report.graph_hits, report.graph_misses, report.graph_captures) == expected
    with wrapped(device, schedule="pingpong", num_ubatches=4) as wrapper:
        for start, expected in ((0, (0, 4, 1)), (1, (4, 0, 0))):
            run(device, wrapper, 8, start)
            report = wrapper.last_report
            assert (report.graph_hits, report.graph_misses, report.graph_captures) == expected
