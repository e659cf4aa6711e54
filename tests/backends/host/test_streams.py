"""Host streams: order by stream and event, failures that stay until told, and threads that end."""

from __future__ import annotations

import contextvars
import gc
import os
import threading
import warnings
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError, ClosedError, WaitTimeoutError
from microbatch.extend.protocols import Event, Stream
from microbatch.turns.runtime import ThreadRuntime
from microbatch_backends.host.backend import HostBackend
from microbatch_backends.host.events import HostEvent
from microbatch_backends.host.queues import WorkQueue
from microbatch_backends.host.state import HostState

STREAMS = ("compute", "communication", "copy_in")
LIMIT = 20.0
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


@pytest.fixture
def streams() -> Iterator[HostBackend]:
    made = HostBackend(HostState)
    yield made
    made.close(LIMIT)


indices = st.integers(0, 2)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("work"), indices, st.sampled_from([0, 50, 2000])),
        st.tuples(st.just("fail"), indices, st.just(0)),
        st.tuples(st.just("record"), indices, indices),
        st.tuples(st.just("wait"), indices, indices),
        st.tuples(st.just("sync"), indices, st.just(0)),
        st.tuples(st.just("sync_event"), indices, st.just(0)),
    ),
    max_size=40,
)


class Model:
    """What must happen, decided by the order of the calls alone."""

    def __init__(self) -> None:
        self.before: list[set[int]] = [set(), set(), set()]
        self.failed: list[int | None] = [None, None, None]
        self.marks: list[tuple[int, set[int], int | None] | None] = [None, None, None]
        self.ran: dict[int, set[int]] = {}

    def work(self, stream: int, number: int, fails: bool) -> None:
        if self.failed[stream] is None:
            self.ran[number] = set(self.before[stream])
            self.before[stream].add(number)
            self.failed[stream] = number if fails else None

    def record(self, event: int, stream: int) -> None:
        self.marks[event] = (stream, set(self.before[stream]), self.failed[stream])

    def wait(self, stream: int, event: int) -> None:
        mark = self.marks[event]
        if mark is not None and self.failed[stream] is None:
            self.before[stream] |= mark[1]
            self.failed[stream] = mark[2]

    def sync(self, stream: int) -> int | None:
        error, self.failed[stream] = self.failed[stream], None
        return error

    def sync_event(self, event: int) -> int | None:
        mark = self.marks[event]
        if mark is None or mark[2] is None:
            return None
        if self.failed[mark[0]] == mark[2]:
            self.failed[mark[0]] = None
        return mark[2]


class Boom(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raised_by(wait: Stream | Event) -> int | None:
    try:
        assert wait.synchronize(LIMIT)
    except Boom as error:
        return error.number
    return None


@given(drawn=operations)
def test_any_order_of_calls_gives_what_the_model_says(drawn: list[tuple[str, int, int]]) -> None:
    made, model, log = HostBackend(HostState), Model(), list[int]()
    streams, events = [made.stream(name) for name in STREAMS], [HostEvent() for _ in range(3)]

    def item(number: int, spin: int, fails: bool) -> None:
        for _ in range(spin):
            pass
        log.append(number)
        if fails:
            raise Boom(number)

    for number, (kind, one, other) in enumerate(drawn):
        if kind in ("work", "fail"):
            fails = kind == "fail"
            streams[one].submit(lambda n=number, s=other, f=fails: item(n, s, f))
            model.work(one, number, fails)
        elif kind == "record":
            events[one].record(streams[other])
            model.record(one, other)
        elif kind == "wait":
            streams[one].wait(events[other])
            model.wait(one, other)
        elif kind == "sync":
            assert raised_by(streams[one]) == model.sync(one)
        else:
            assert raised_by(events[one]) == model.sync_event(one)
    for stream in streams:
        raised_by(stream)
    made.close(LIMIT)
    assert set(log) == set(model.ran) and len(log) == len(model.ran)
    place = {number: position for position, number in enumerate(log)}
    assert all(place[early] < place[number] for number, before in model.ran.items() for early in before)


def test_a_wait_holds_back_what_comes_after_it_and_nothing_before(streams: HostBackend) -> None:
    first, second = streams.stream("compute"), streams.stream("copy_out")
    gate, log, event, early = threading.Event(), list[str](), HostEvent(), HostEvent()
    first.submit(lambda: gate.wait(LIMIT) and log.append("first"))
    event.record(first)
    second.submit(lambda: log.append("early"))
    early.record(second)
    second.wait(event)
    second.submit(lambda: log.append("late"))
    assert early.synchronize(LIMIT) and not event.done()
    assert not second.synchronize(0.02)
    assert log == ["early"]
    gate.set()
    assert second.synchronize(LIMIT)
    assert log == ["early", "first", "late"]


def test_a_wait_keeps_the_record_it_saw(streams: HostBackend) -> None:
    first, second = streams.stream("compute"), streams.stream("copy_out")
    gate, event, log = threading.Event(), HostEvent(), list[int]()
    event.record(first)
    second.wait(event)
    first.submit(lambda: gate.wait(LIMIT))
    event.record(first)
    second.submit(lambda: log.append(1))
    assert second.synchronize(LIMIT) and log == [1]
    gate.set()


def test_an_event_never_recorded_is_done(streams: HostBackend) -> None:
    event = HostEvent()
    assert event.done() and event.synchronize(0)
    streams.stream("compute").wait(event)
    assert streams.stream("compute").synchronize(0)


def test_a_thread_on_which_a_stream_is_active_computes_in_order_with_it(streams: HostBackend) -> None:
    stream, log = streams.stream("compute"), list[str]()
    stream.submit(lambda: log.append("submitted before"))
    with stream.activate():
        assert streams.current_stream() is stream
        log.append("in place")
        stream.submit(lambda: log.append("submitted inside"))
        log.append("after it")
        with streams.stream("communication").activate():
            assert streams.current_stream() is streams.stream("communication")
        assert streams.current_stream() is stream
    assert streams.current_stream() is not stream
    assert log == ["submitted before", "in place", "submitted inside", "after it"]


def test_activation_is_undone_when_the_block_raises(streams: HostBackend) -> None:
    caller = streams.current_stream()
    with pytest.raises(Boom), streams.stream("compute").activate():
        raise Boom(1)
    assert streams.current_stream() is caller


def test_activating_a_failed_stream_raises_its_error(streams: HostBackend) -> None:
    stream = streams.stream("compute")
    stream.submit(lambda: (_ for _ in ()).throw(Boom(7)).__next__())
    with pytest.raises(Boom), stream.activate():
        pytest.fail("nothing may compute after failed work")
    with stream.activate():
        pass


def test_waiting_where_a_stream_is_active_blocks_until_the_event(streams: HostBackend) -> None:
    first, second, event, log = streams.stream("copy_in"), streams.stream("compute"), HostEvent(), list[str]()
    gate = threading.Event()
    first.submit(lambda: gate.wait(LIMIT) and log.append("waited for"))
    event.record(first)

    def compute() -> None:
        with second.activate():
            second.wait(event)
            log.append("in place")

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join(0.02)
    assert thread.is_alive()
    gate.set()
    thread.join()
    assert log == ["waited for", "in place"]


def test_a_stream_that_waits_for_failed_work_fails_with_it(streams: HostBackend) -> None:
    first, second, event, log = streams.stream("copy_in"), streams.stream("compute"), HostEvent(), list[int]()
    first.submit(lambda: {}["lost"])
    event.record(first)
    second.wait(event)
    second.submit(lambda: log.append(1))
    for stream in (second, first):
        with pytest.raises(KeyError, match="lost"):
            stream.synchronize(LIMIT)
    second.submit(lambda: log.append(2))
    assert second.synchronize(LIMIT) and first.synchronize(LIMIT) and log == [2]


def test_what_was_submitted_before_the_error_was_told_stays_skipped() -> None:
    queue, gate, log = WorkQueue("test", ThreadRuntime()), threading.Event(), list[int]()
    queue.run(lambda: {}["lost"])
    mark = queue.mark()
    queue._put(lambda: gate.wait(LIMIT))
    queue.run(lambda: log.append(1))
    assert mark.wait(LIMIT)
    with pytest.raises(KeyError):
        mark.reached()
    gate.set()
    queue.run(lambda: log.append(2))
    assert queue.stop(LIMIT) and log == [2]


def test_submitted_work_sees_the_callers_context_and_its_own_stream(streams: HostBackend) -> None:
    seen: list[object] = []
    token = VARIABLE.set("caller's")
    stream = streams.stream("compute")
    stream.submit(lambda: seen.extend((VARIABLE.get(), streams.current_stream(), VARIABLE.set("leaked"))))
    VARIABLE.reset(token)
    stream.submit(lambda: seen.append(VARIABLE.get()))
    assert stream.synchronize(LIMIT)
    assert seen[0] == "caller's" and seen[1] is stream and seen[3] == "unset"


def test_work_may_wait_for_its_own_stream_without_hanging(streams: HostBackend) -> None:
    stream, event, log = streams.stream("compute"), HostEvent(), list[bool]()

    def work() -> None:
        event.record(stream)
        log.extend((stream.synchronize(LIMIT), event.done()))

    stream.submit(work)
    assert stream.synchronize(LIMIT) and log == [True, True]


def test_the_callers_own_stream_is_always_done(streams: HostBackend) -> None:
    caller, event, log = streams.current_stream(), HostEvent(), list[int]()
    caller.submit(lambda: log.append(1))
    event.record(caller)
    assert log == [1] and event.done() and caller.synchronize(0)
    with pytest.raises(Boom):
        caller.submit(lambda: (_ for _ in ()).throw(Boom(7)).__next__())


def test_the_same_purpose_gives_the_same_stream(streams: HostBackend) -> None:
    assert streams.stream("compute") is streams.stream("compute")
    assert streams.stream("compute") is not streams.stream("copy_in")


def test_nothing_starts_a_thread_before_there_is_work(streams: HostBackend) -> None:
    before = threading.active_count()
    event = HostEvent()
    with streams.stream("compute").activate():
        event.record(streams.stream("compute"))
        streams.stream("communication").wait(event)
    assert event.synchronize(0) and streams.stream("communication").synchronize(0)
    assert threading.active_count() == before


def thread_of(streams: HostBackend) -> threading.Thread:
    found: list[threading.Thread] = []
    streams.stream("compute").submit(lambda: found.append(threading.current_thread()))
    assert streams.stream("compute").synchronize(LIMIT)
    return found[0]


def test_a_closed_backend_has_no_threads_and_starts_again_on_demand(streams: HostBackend) -> None:
    thread = thread_of(streams)
    assert thread.is_alive() and thread.daemon
    streams.close(LIMIT)
    assert not thread.is_alive()
    assert thread_of(streams) is not thread


def test_an_idle_thread_ends_by_itself() -> None:
    streams = HostBackend(HostState, idle=0.001)
    thread = thread_of(streams)
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert thread_of(streams) is not thread


def test_the_thread_of_a_dropped_stream_ends() -> None:
    streams = HostBackend(HostState, idle=LIMIT * 10)
    thread = thread_of(streams)
    del streams
    gc.collect()
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_closing_names_the_streams_that_still_work(streams: HostBackend) -> None:
    gate = threading.Event()
    streams.stream("copy_out").submit(lambda: gate.wait(LIMIT))
    with pytest.raises(WaitTimeoutError, match="copy_out"):
        streams.close(0.01)
    gate.set()


def test_finished_work_is_let_go_of() -> None:
    class Big:
        pass

    streams, big, gone = HostBackend(HostState, idle=LIMIT * 10), Big(), threading.Event()
    weakref.finalize(big, gone.set)
    streams.stream("compute").submit(lambda kept=big: None)
    del big
    assert gone.wait(LIMIT)
    streams.close(LIMIT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_queues_of_its_own(streams: HostBackend) -> None:
    stream, gate, event = streams.stream("compute"), threading.Event(), HostEvent()
    stream.submit(lambda: gate.wait(LIMIT))
    event.record(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            log: list[int] = []
            stream.submit(lambda: log.append(1))
            good = stream.synchronize(LIMIT) and log == [1]
            with pytest.raises(ClosedError, match="forked"):
                event.synchronize(LIMIT)
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    gate.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_foreign_streams_and_events_are_refused(streams: HostBackend) -> None:
    class Foreign:
        purpose = "compute"

    with pytest.raises(ArgumentTypeError, match="cannot be recorded on a Foreign"):
        HostEvent().record(Foreign())  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="cannot wait for a Foreign"):
        streams.stream("compute").wait(Foreign())  # type: ignore[arg-type]
