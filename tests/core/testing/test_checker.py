"""The checker against an explicit graph, and its reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.testing import RecordingBackend, RecordingRuntime, Trace
from microbatch.testing.recording.checker import check
from microbatch.testing.recording.trace import Access, TraceEntry
from microbatch.testing.simulated.ranges import MOST_RUNS, byte_ranges
from microbatch.testing.strategies import traces

TRACES = 20_000


def first_of(entries: list[TraceEntry]) -> int | None:
    return min((race.second_index for race in check(entries).races), default=None)


def test_it_agrees_with_a_graph_on_random_traces(
    random_trace: Callable[..., list[TraceEntry]], first_race: Callable[..., int | None]
) -> None:
    racy = 0
    for seed in range(TRACES):
        entries = random_trace(seed)
        found = first_of(entries)
        assert found == first_race(entries), (seed, entries)
        racy += found is not None
    assert 0.2 < racy / TRACES < 0.9


@given(entries=traces())
def test_it_agrees_with_a_graph_on_drawn_traces(entries: list[TraceEntry], first_race: Any) -> None:
    assert first_of(entries) == first_race(entries)
    for race in check(entries).races:
        assert race.first_index < race.second_index
        assert race.first_writes or race.second_writes
        assert race.low < race.high


def test_each_racy_program_has_a_race_free_twin() -> None:
    for wait in (True, False):
        device = RecordingBackend()
        first, second, event = device.stream("copy_in"), device.stream("compute"), device.event()
        with first.activate():
            x = device.array(np.ones(4))
        event.record(first)
        if wait:
            second.wait(event)
        with second.activate():
            y = x + 1
        assert (device.races() == ()) == wait
        del y


def test_slices_of_one_buffer_are_told_apart() -> None:
    device = RecordingBackend()
    x = device.array(np.zeros((8, 8)))
    x_is_there = device.event()
    x_is_there.record(device.current_stream())
    for stream, rows, columns in (
        ("compute", slice(0, 4), slice(0, 4)),
        ("communication", slice(4, 8), slice(0, 8)),
        ("copy_in", slice(0, 4), slice(4, 8)),
    ):
        device.stream(stream).wait(x_is_there)
        with device.stream(stream).activate():
            x[rows, columns] += 1
    device.assert_ordered()
    with device.stream("copy_out").activate():
        device.stream("copy_out").wait(x_is_there)
        x[3:5] += 1
    assert {race.first.stream for race in device.races()} == {"compute", "communication", "copy_in"}


def test_reuse_of_a_freed_block_is_an_access() -> None:
    device = RecordingBackend()
    with device.stream("copy_in").activate():
        x = device.array(np.zeros(64))
        event = device.event()
        event.record(device.stream("copy_in"))
    device.stream("compute").wait(event)
    with device.stream("compute").activate():
        y = x + 1
    del x
    device.assert_ordered()
    with device.stream("copy_in").activate():
        z = device.array(np.zeros(64))
    (race, *_) = device.races()
    assert race.second.kind == "alloc"
    assert "keep the array until stream 'copy_in'" in str(race)
    del y, z


def test_a_host_read_before_the_copy_is_done_is_a_race() -> None:
    for synchronize in (True, False):
        device = RecordingBackend()
        x = device.array(np.arange(4.0))
        host = device.staging(x.shape, x)
        device.to_host(host, x)
        if synchronize:
            device.current_stream().synchronize()
        np.asarray(host)
        assert (device.races() == ()) == synchronize
    assert "synchronize an event" in str(device.races()[0])


def test_a_report_names_both_places_and_the_missing_wait() -> None:
    device = RecordingBackend()
    with device.stream("copy_in").activate():
        x = device.array(np.ones(4))
    with device.stream("compute").activate():
        x += 1
    text = str(device.races()[0])
    assert text.count(__file__) == 2
    assert "stream 'compute'" in text and "stream 'copy_in'" in text
    assert "record an event on stream 'copy_in'" in text
    with pytest.raises(AssertionError, match="unordered accesses"):
        device.assert_ordered()


def test_waits_that_order_nothing_are_noted() -> None:
    device = RecordingBackend()
    event, stream = device.event(), device.stream("compute")
    stream.wait(event)
    event.record(device.current_stream())
    stream.wait(event)
    stream.wait(event)
    findings = device.findings()
    assert len(findings.waits_for_nothing) == 1
    assert len(findings.redundant_waits) == 1


def test_hand_offs_between_threads_are_edges() -> None:
    for recorded in (True, False):
        device = RecordingBackend()
        runtime = RecordingRuntime(device.trace if recorded else Trace())
        host = device.staging((4,), np.zeros(4))
        gate = runtime.gate()

        def write(host: Any = host, gate: Any = gate) -> None:
            host[:] = 1
            gate.open()

        task = runtime.spawn(write, name="writer")
        assert gate.wait(30)
        np.asarray(host)
        assert task.join(30)
        assert (device.races() == ()) == recorded


def test_an_inexact_range_is_said_to_be_one() -> None:
    device = RecordingBackend()
    x = device.array(np.zeros((2 * MOST_RUNS, 4)))
    done = device.event()
    done.record(device.current_stream())
    for purpose, column in (("compute", 0), ("copy_in", 2)):
        device.stream(purpose).wait(done)  # type: ignore[arg-type]
        with device.stream(purpose).activate():  # type: ignore[arg-type]
            x[:, column : column + 1] += 1
    races = device.races()
    assert races and not any(race.exact for race in races)
    assert "bounds of strided views" in str(races[0])


@given(data=st.data())
def test_byte_ranges_are_the_bytes_of_the_view(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    base = np.zeros(shape, "u2")
    keys = [
        slice(
            data.draw(st.integers(0, n - 1)),
            data.draw(st.integers(0, n)),
            data.draw(st.sampled_from([1, 2, -1])),
        )
        for n in shape
    ]
    view = np.transpose(base[tuple(keys)], data.draw(st.permutations(range(base.ndim))))
    ranges, exact = byte_ranges(view, base.__array_interface__["data"][0])
    view[...] = 0xFFFF
    touched = set(np.flatnonzero(base.reshape(-1).view("u1")))
    listed = {byte for low, high in ranges for byte in range(low, high)}
    assert exact
    assert listed == touched


def test_an_entry_touching_one_block_twice_is_no_race_with_itself() -> None:
    entries = [TraceEntry("launch", 0, 0, None, (Access(0, 0, 8, False), Access(0, 4, 8, True)))]
    assert check(entries).races == ()
