"""Streams and events: what is in order, and what the host waits for."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from microbatch.extend.protocols import Backend, Event, StreamPurpose
from microbatch.testing.properties import prop
from microbatch.testing.suites.base import BackendChecks

PURPOSES: tuple[StreamPurpose, ...] = ("compute", "communication", "copy_in", "copy_out")
BUFFERS = 3


class Task(NamedTuple):
    """One piece of work of a drawn program."""

    stream: int
    """On which of the streams."""
    source: int
    """The buffer it copies from."""
    target: int
    """The buffer it copies to, and adds one to."""


TASKS = st.lists(
    st.builds(Task, st.integers(0, 3), st.integers(0, BUFFERS - 1), st.integers(0, BUFFERS - 1)), max_size=12
)


class StreamChecks(BackendChecks):
    """What schedules rely on."""

    def check_the_stream_of_a_purpose_is_always_the_same(self) -> None:
        """`stream` gives one object a purpose, and says the purpose."""
        backend = self.make_backend()
        for purpose in PURPOSES:
            assert backend.stream(purpose) is backend.stream(purpose)
            assert backend.stream(purpose).purpose == purpose

    @prop(count=st.integers(0, 20))
    def check_work_of_one_stream_is_in_order(self, count: int) -> None:
        """What is submitted first runs first, and `synchronize` comes after all of it."""
        backend = self.make_backend()
        stream, seen = backend.stream("compute"), []
        for number in range(count):
            stream.submit(lambda number=number: seen.append(number))  # type: ignore[misc]
        assert stream.synchronize()
        assert seen == list(range(count))

    @prop(tasks=TASKS)
    def check_events_order_work_of_different_streams(self, tasks: list[Task]) -> None:
        """A program whose conflicts are all ordered by events computes what it would one after another."""
        backend = self.make_backend()
        values = [self.numbers(4, start=100 * number) for number in range(BUFFERS)]
        buffers = [self.make_buffer(backend, value) for value in values]
        streams = [backend.stream(purpose) for purpose in PURPOSES]
        self.begin(backend, streams)
        last: dict[int, tuple[int, Event]] = {}
        for task in tasks:
            stream = streams[task.stream]
            for buffer in {task.source, task.target}:
                if buffer in last and last[buffer][0] != task.stream:
                    stream.wait(last[buffer][1])
            source, target = buffers[task.source], buffers[task.target]
            stream.submit(partial(self._move, backend, source, target))
            for buffer in {task.source, task.target}:
                event = backend.event()
                event.record(stream)
                last[buffer] = (task.stream, event)
            if task.source != task.target:
                values[task.target][...] = values[task.source]
            values[task.target] += 1
        for _, event in last.values():
            assert event.synchronize()
        for buffer, value in zip(buffers, values, strict=True):
            np.testing.assert_array_equal(self.to_numpy(buffer), value)

    def check_an_event_that_was_never_recorded_is_done(self) -> None:
        """It is done, and waiting for it, on the host or a stream, changes nothing."""
        backend = self.make_backend()
        event = backend.event()
        assert event.done()
        assert event.synchronize(0)
        backend.stream("compute").wait(event)
        assert backend.stream("compute").synchronize()

    def check_an_event_stands_for_its_latest_record(self) -> None:
        """Recorded again, it covers the work up to there."""
        backend = self.make_backend()
        array = self.make_buffer(backend, self.numbers(2))
        stream, event = backend.stream("copy_in"), backend.event()
        self.begin(backend, [stream])
        event.record(stream)
        stream.submit(lambda: self.add_one(array))
        event.record(stream)
        assert event.synchronize()
        np.testing.assert_array_equal(self.to_numpy(array), self.numbers(2) + 1)
        for _ in range(1000):
            if event.done():
                break
        assert event.done()

    def check_a_wait_keeps_what_the_event_stood_for(self) -> None:
        """Recording an event again, behind work that waits, must not make that work wait for itself."""
        backend = self.make_backend()
        first, second, event = backend.stream("copy_in"), backend.stream("copy_out"), backend.event()
        event.record(first)
        second.wait(event)
        second.submit(lambda: None)
        event.record(second)
        first.wait(event)
        first.submit(lambda: None)
        assert first.synchronize(30)
        assert second.synchronize(30)

    def check_activate_puts_the_former_stream_back(self) -> None:
        """Also after an error, and nested."""
        backend = self.make_backend()
        before = backend.current_stream()
        if before != backend.current_stream():
            pytest.skip(
                f"{backend.name!r} gives a new object for its current stream each time, so none can be told"
            )
        outer, inner = backend.stream("compute"), backend.stream("communication")
        with pytest.raises(KeyError), outer.activate():
            with inner.activate():
                assert backend.current_stream() == inner
            assert backend.current_stream() == outer
            raise KeyError("row")
        assert backend.current_stream() == before

    def check_work_in_an_active_stream_is_ordered_there(self) -> None:
        """What is computed while a stream is active is done when that stream has been waited for."""
        backend = self.make_backend()
        array = self.make_buffer(backend, self.numbers(3))
        stream = backend.stream("communication")
        self.begin(backend, [stream])
        with stream.activate():
            self.add_one(array)
        stream.submit(lambda: self.add_one(array))
        assert stream.synchronize()
        np.testing.assert_array_equal(self.to_numpy(array), self.numbers(3) + 2)

    def check_the_error_of_submitted_work_is_raised_once(self) -> None:
        """By the submit or by the next synchronize of that stream; then the stream works again."""
        backend = self.make_backend()
        stream, error = backend.stream("compute"), KeyError("row")

        def work() -> None:
            raise error

        with pytest.raises(KeyError) as caught:
            stream.submit(work)
            stream.synchronize()
        assert caught.value is error
        seen: list[int] = []
        stream.submit(lambda: seen.append(1))
        assert stream.synchronize()
        assert seen == [1]

    def _move(self, backend: Backend, source: object, target: object) -> None:
        if source is not target:
            backend.copy(target, source)
        self.add_one(target)
