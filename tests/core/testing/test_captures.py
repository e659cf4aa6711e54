"""Captures of the simulated devices follow streams; a replay waits for what was waited for, no more."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from microbatch.testing import AdversarialBackend, RecordingBackend
from microbatch.testing.adversarial.order import WORST_ORDERS

ONES = np.ones(4)


def two_streams(device: Any, x: Any, *, fork: bool = True, join: bool = True) -> Any:
    """Double on one stream, then add on another."""
    first, second, event = device.current_stream(), device.stream("communication"), device.event()
    event.record(first)
    second.wait(event)
    doubled = x * 2
    if fork:
        event.record(first)
        second.wait(event)
    with second.activate():
        result = doubled + 1
    if join:
        event.record(second)
        first.wait(event)
    return result


def replayed(device: Any, values: list[float], **waits: bool) -> list[bool]:
    """Whether each replay gave the right answer."""
    x = device.array(ONES)
    graph, y = device.capture(lambda: two_streams(device, x, **waits))
    right = []
    for value in values:
        x[:] = value
        graph.replay()
        right.append(bool((np.asarray(y) == 2 * value + 1).all()))
    return right


@pytest.mark.parametrize("order", WORST_ORDERS, ids=lambda order: str(order.starved))
def test_a_graph_of_two_streams_is_right_in_the_worst_orders(order: Any) -> None:
    assert all(replayed(AdversarialBackend(order), [3.0, 4.0, 5.0]))


def test_a_forgotten_wait_inside_a_graph_is_wrong_and_reported() -> None:
    wrong = [
        not all(replayed(AdversarialBackend(order), [3.0, 4.0, 5.0], fork=False)) for order in WORST_ORDERS
    ]
    device = RecordingBackend()
    replayed(device, [3.0], fork=False)
    races = [str(race) for race in device.races()]
    assert any(wrong) and any("graph: " in race for race in races)


def test_unjoined_work_is_refused_and_streams_leave_the_capture() -> None:
    device = RecordingBackend()
    x = device.array(ONES)
    with pytest.raises(RuntimeError, match="unjoined work on communication") as caught:
        device.capture(lambda: two_streams(device, x, join=False))
    assert device.capture_refused(caught.value)
    assert all(stream.capture is None for stream in device.device.streams.values())
    np.testing.assert_array_equal(np.asarray(x + 1), ONES + 1)


def test_captured_work_cannot_wait_for_work_that_is_not() -> None:
    device = RecordingBackend()
    event, runs = device.event(), []

    def work() -> None:
        runs.append(1)
        if len(runs) == 2:
            device.current_stream().wait(event)

    event.record(device.current_stream())
    with pytest.raises(RuntimeError, match="not captured") as caught:
        device.capture(work)
    assert device.capture_refused(caught.value)


def test_an_event_of_a_capture_means_nothing_outside() -> None:
    device = RecordingBackend()
    event = device.event()
    device.capture(lambda: event.record(device.current_stream()))
    for use in (event.done, event.synchronize, lambda: device.current_stream().wait(event)):
        with pytest.raises(RuntimeError, match="capture") as caught:
            use()
        assert device.capture_refused(caught.value)
    event.record(device.current_stream())
    assert event.done()


def test_a_capture_takes_what_other_threads_launch_on_its_streams_and_nothing_else() -> None:
    device = RecordingBackend()
    x, aside = device.array(ONES), device.array(ONES)
    results: list[Any] = []

    def launch(stream: Any, array: Any) -> None:
        with stream.activate():
            results.append(array * 3)

    def work() -> None:
        for stream, array in ((device.current_stream(), x), (eager, aside)):
            thread = threading.Thread(target=launch, args=(stream, array))
            thread.start()
            thread.join()

    eager = device.stream("compute")
    graph, _ = device.capture(work)
    captured, beside = results[2:]
    np.testing.assert_array_equal(np.asarray(beside), ONES * 3)
    assert not (np.asarray(captured) == ONES * 3).all()
    x[:] = 2.0
    aside[:] = 2.0
    graph.replay()
    np.testing.assert_array_equal(np.asarray(captured), ONES * 6)
    np.testing.assert_array_equal(np.asarray(beside), ONES * 3)


def test_neither_a_capture_nor_a_replay_goes_into_a_capture() -> None:
    device = RecordingBackend()
    graph, _ = device.capture(lambda: None)
    for inside in (lambda: device.capture(lambda: None), graph.replay):
        with pytest.raises(RuntimeError, match="capture"):
            device.capture(inside)
