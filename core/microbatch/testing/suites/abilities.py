"""Optional abilities: transfer, streams lent to a step, peaks, named ranges, times, ranks and modes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from microbatch.extend.abilities import (
    SupportsAwaiting,
    SupportsGraphState,
    SupportsHostArrays,
    SupportsJoins,
    SupportsLanes,
    SupportsNeeds,
    SupportsPeak,
    SupportsPipes,
    SupportsRanges,
    SupportsRanks,
    SupportsRows,
    SupportsSights,
    SupportsTimedEvents,
    SupportsTransfer,
    SupportsTrials,
    SupportsValues,
    SupportsYieldCheck,
)
from microbatch.testing.properties import prop
from microbatch.testing.suites.base import BackendChecks


class AbilityChecks(BackendChecks):
    """Skipped, with a sentence, where the backend does not have them."""

    def host_array(self, values: np.ndarray, like: object) -> object:
        """A host array of the framework that `staging` accepts as `like`; NumPy by default."""
        return values

    @prop(rows=st.integers(0, 5))
    def check_transfer_goes_there_and_back(self, rows: int) -> None:
        """Host to device to host through staging, ordered by events, changes no value."""
        backend = self.make_backend()
        transfer: SupportsTransfer = self.require(backend, SupportsTransfer)
        values = self.numbers(rows)
        host = self.host_array(values, None)
        copy_in, copy_out = backend.stream("copy_in"), backend.stream("copy_out")
        going, coming = transfer.staging(values.shape, host), transfer.staging(values.shape, host)
        backend.copy(going, host)
        with copy_in.activate():
            there = transfer.empty_device(values.shape, host)
        assert backend.owns(there)
        copy_in.submit(lambda: transfer.to_device(there, going))
        event = backend.event()
        event.record(copy_in)
        copy_out.wait(event)
        copy_out.submit(lambda: transfer.to_host(coming, there))
        event.record(copy_out)
        assert event.synchronize()
        np.testing.assert_array_equal(np.asarray(coming), values)

    @prop(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), data=st.data())
    def check_parts_that_cannot_be_written_to_are_joined(self, sizes: list[int], data: Any) -> None:
        """Rows that were cut out and joined again are the batch, of its dtype, and no part has changed."""
        backend = self.make_backend()
        joiner: SupportsJoins = self.require(backend, SupportsJoins)
        if not joiner.joins:
            pytest.skip(f"arrays of {backend.name!r} can be written to")
        values = self.numbers(sum(sizes), 3).astype(data.draw(st.sampled_from(self.dtypes)))
        array, edges = self.make_array(backend, values), np.cumsum([0, *sizes]).tolist()
        parts = [array[start:stop] for start, stop in pairwise(edges)]
        joined = backend.concatenate(parts, 0)
        assert type(joined) is type(array)
        assert joined.dtype == array.dtype
        assert backend.owns(joined)
        self.assert_values(backend, joined, values)
        for part, (start, stop) in zip(parts, pairwise(edges), strict=True):
            self.assert_values(backend, part, values[start:stop])

    @prop(rows=st.integers(0, 6), low=st.integers(0, 6), high=st.integers(0, 6), axis=st.integers(0, 1))
    def check_rows_are_those_of_a_slice(self, rows: int, low: int, high: int, axis: int) -> None:
        """Of the backend's own arrays and of the host's, which stay of their type."""
        backend = self.make_backend()
        taker: SupportsRows = self.require(backend, SupportsRows)
        where = slice(min(low, high, rows), min(max(low, high), rows))
        values = self.numbers(rows, 3) if axis == 0 else np.ascontiguousarray(self.numbers(rows, 3).T)
        expected = values[where] if axis == 0 else values[:, where]
        array = self.make_array(backend, values)
        taken, on_host = taker.rows(array, where, axis), taker.rows(values, where, axis)
        assert type(taken) is type(array)
        assert taken.dtype == array.dtype
        self.assert_values(backend, taken, expected)
        assert type(on_host) is np.ndarray
        np.testing.assert_array_equal(on_host, expected)

    def check_what_a_function_returns_is_waited_for(self) -> None:
        """It gives what the function gives, however it is packed, and raises what that raises."""
        backend = self.make_backend()
        awaiting: SupportsAwaiting = self.require(backend, SupportsAwaiting)
        array = self.make_array(backend, self.numbers(3))
        same = awaiting.awaiting(lambda first, *, more: {"rows": [first, more], "text": "row"})
        found = same(array, more=None)
        assert found["text"] == "row"
        assert found["rows"][0] is array
        assert found["rows"][1] is None
        error = KeyError("row")

        def fails() -> None:
            raise error

        with pytest.raises(KeyError) as caught:
            awaiting.awaiting(fails)()
        assert caught.value is error

    def check_values_are_those_of_the_array(self) -> None:
        """What NumPy reads by itself is read no differently."""
        backend = self.make_backend()
        reader: SupportsValues = self.require(backend, SupportsValues)
        np.testing.assert_array_equal(
            reader.values(self.make_array(backend, self.numbers(3))), self.numbers(3)
        )

    def check_needs_are_told_or_not(self) -> None:
        """Of a function that nobody compiled nothing is known, and asking calls nothing."""
        backend = self.make_backend()
        needs: SupportsNeeds = self.require(backend, SupportsNeeds)
        calls: list[int] = []
        assert needs.needs(calls.append, (1,), {}) is None
        assert not calls

    @prop(counts=st.lists(st.integers(1, 3), min_size=1, max_size=3))
    def check_streams_are_lent_to_one_step_at_a_time(self, counts: list[int]) -> None:
        """Pairs that are held at the same time share no stream; all of them are streams like any other."""
        backend = self.make_backend()
        lender: SupportsLanes = self.require(backend, SupportsLanes)
        with ExitStack() as held:
            pairs = [pair for count in counts for pair in held.enter_context(lender.lanes(count))]
            streams = [stream for pair in pairs for stream in pair]
            assert len(pairs) == sum(counts)
            assert len({id(stream) for stream in streams}) == len(streams)
            assert all(one != other for index, one in enumerate(streams) for other in streams[:index])
            array, event = self.make_buffer(backend, self.numbers(2)), backend.event()
            event.record(backend.current_stream())
            for stream in streams:
                stream.wait(event)
                stream.submit(lambda: self.add_one(array))
                event.record(stream)
            assert event.synchronize()
            np.testing.assert_array_equal(self.to_numpy(array), self.numbers(2) + len(streams))

    def check_pipes_are_lent_to_one_step_at_a_time(self) -> None:
        """Work of one step may wait for all that a step inside it submits, whatever the streams are for."""
        backend = self.make_backend()
        lender: SupportsPipes = self.require(backend, SupportsPipes)
        seen: list[str] = []

        def step_inside() -> None:
            with lender.pipe() as inner:
                assert not {*map(id, inner)} & {*map(id, outer)}, "a stream is lent to two steps"
                for stream in inner:
                    stream.submit(partial(seen.append, stream.purpose))
                    assert stream.synchronize(30)

        with lender.pipe() as outer:
            assert [stream.purpose for stream in outer] == ["copy_in", "compute", "copy_out"]
            for stream in outer:
                stream.submit(step_inside)
            assert all(stream.synchronize(60) for stream in outer)
        assert sorted(seen) == sorted([stream.purpose for stream in outer] * 3)

    def check_a_peak_is_never_below_what_was_in_use(self) -> None:
        """Nor does it fall while more is measured."""
        backend = self.make_backend()
        mark = self.require(backend, SupportsPeak).peak_mark()
        if mark is None:
            pytest.skip(f"{backend.name!r} cannot measure a peak on this machine")
        first = mark.peak()
        kept = self.make_array(backend, self.numbers(1 << 10))
        assert 0 <= mark.in_use <= first <= mark.peak()
        del kept

    def check_named_ranges_nest_and_end_with_an_error(self) -> None:
        """A range is for a profiler: it changes nothing, and lets errors pass."""
        backend = self.make_backend()
        ranges: SupportsRanges = self.require(backend, SupportsRanges)
        with pytest.raises(KeyError), ranges.range("step"), ranges.range("ubatch 0"):
            raise KeyError("row")
        with ranges.range("step"):
            pass

    @prop(rows=st.integers(0, 5))
    def check_host_arrays_become_arrays_of_the_backend(self, rows: int) -> None:
        """Read-only ones and ones of a foreign byte order too; writing into them leaves the host's alone."""
        backend = self.make_backend()
        makes: SupportsHostArrays = self.require(backend, SupportsHostArrays)
        values = self.numbers(rows)
        values.flags.writeable = False
        for given in (values, values.astype(values.dtype.newbyteorder(">"))):
            with makes.inference():
                array = makes.from_host(given)
            assert backend.owns(array)
            self.add_one(array)
            self.assert_values(backend, array, values + 1)
            np.testing.assert_array_equal(given, values)

    def check_trials_leave_no_trace(self) -> None:
        """Calls inside give the same rows, and nothing was drawn; an error inside passes."""
        backend = self.make_backend()
        trials = self.require(backend, SupportsTrials)
        array = self.make_buffer(backend, self.numbers(3))
        with trials.trial() as drawn:
            self.add_one(array)
            assert not drawn()
            assert not backend.differentiable((array,))
        np.testing.assert_array_equal(self.to_numpy(array), self.numbers(3) + 1)
        with pytest.raises(KeyError), trials.trial():
            raise KeyError("row")

    def check_timed_events_tell_how_long_work_took(self) -> None:
        """Seconds from one event to a later one of the same stream, never less than none; another is new."""
        backend = self.make_backend()
        timed: SupportsTimedEvents = self.require(backend, SupportsTimedEvents)
        first = timed.timed_event()
        assert first is not None  # outside of a capture there always is one
        stream = backend.stream("compute")
        first.record(stream)
        array = self.make_buffer(backend, self.numbers(3))
        stream.submit(lambda: backend.copy(array, array))
        last = first.another()
        last.record(stream)
        assert last.synchronize(60.0)
        assert last is not first and first.seconds_until(last) >= 0.0

    def check_watching_calls_changes_nothing(self) -> None:
        """Twice is once, and code that nobody records runs as before."""
        backend = self.make_backend()
        sights: SupportsSights = self.require(backend, SupportsSights)
        sights.watch_calls()
        sights.watch_calls()
        values = self.numbers(3)
        self.assert_values(backend, self.make_array(backend, values), values)

    def check_the_ranks_of_a_process_stay_the_same(self) -> None:
        """Asked twice, the answer is one object; a group has at least two ranks, of which this is one."""
        process: SupportsRanks = self.require(self.make_backend(), SupportsRanks)
        assert isinstance(process.grouping, str) and process.grouping
        ranks = process.ranks(None)
        assert process.ranks(None) is ranks
        assert ranks is None or 0 <= ranks.rank < ranks.size >= 2

    def check_modes_that_did_not_change_compare_equal(self) -> None:
        """`mode_depth` at yields, and `graph_state` as part of a key."""
        backend = self.make_backend()
        if not isinstance(backend, (SupportsYieldCheck, SupportsGraphState)):
            pytest.skip(f"{backend.name!r} has neither mode_depth() nor graph_state(), which are optional")
        if isinstance(backend, SupportsYieldCheck):
            assert backend.mode_depth() == backend.mode_depth()
        if isinstance(backend, SupportsGraphState):
            assert {backend.graph_state(): "graph"}[backend.graph_state()] == "graph"
