"""The backend suite has teeth: for each check, a backend that breaks just that promise fails it."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from microbatch.extend.records import FailureKind
from microbatch.testing import AdversarialBackend, BackendSuite, MemoryModel, WorkOrder
from microbatch.testing.simulated.array import DeviceArray
from microbatch.testing.simulated.streams import SimulatedEvent, SimulatedStream


class TimedEvent:
    """Its times are numbers of events."""

    def __init__(self, backend: Any, sign: int = 1) -> None:
        self.backend, self.sign = backend, sign
        self.event = backend.event()
        self.time = 0

    def record(self, stream: Any) -> None:
        self.event.record(stream)
        self.backend.times += 1
        self.time = self.backend.times

    def synchronize(self, timeout: float | None = None) -> bool:
        return bool(self.event.synchronize(timeout))

    def seconds_until(self, later: TimedEvent) -> float:
        return float(self.sign * (later.time - self.time))

    def another(self) -> TimedEvent:
        return TimedEvent(self.backend, self.sign)


class Sound(AdversarialBackend):
    """Breaks nothing, and has all optional abilities that a suite checks."""

    kind_of_stream: type[SimulatedStream] = SimulatedStream
    starved: str | None = None

    def __init__(self) -> None:
        super().__init__(WorkOrder(starved=self.starved), MemoryModel(capacity=1 << 16))
        self.device.kind_of_stream = self.kind_of_stream

    def peak_mark(self) -> Any:
        before = self.memory().in_use
        return SimpleNamespace(in_use=before, peak=lambda: max(before, self.memory().in_use))

    def range(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    times = 0

    def timed_event(self) -> TimedEvent:
        return TimedEvent(self)

    def watch_calls(self) -> None:
        pass

    def mode_depth(self) -> object:
        return (0, 0)

    def graph_state(self) -> Any:
        return "plain"

    def from_host(self, array: Any) -> Any:
        made = self.array(np.array(array, array.dtype.newbyteorder("=")))
        self.device.finish_all()
        return made

    def inference(self) -> AbstractContextManager[None]:
        return nullcontext()

    def rows(self, array: Any, where: slice, axis: int) -> Any:
        return array[(slice(None),) * axis + (where,)]

    def awaiting(self, function: Any) -> Any:
        return function

    def values(self, array: Any) -> Any:
        return np.asarray(array)

    def needs(self, function: Any, args: Any, kwargs: Any) -> Any:
        return None


class SoundAndJoined(Sound):
    """Breaks nothing, and says that its arrays cannot be written to."""

    joins = True


class JoinsInAnotherOrder(SoundAndJoined):
    def concatenate(self, parts: Any, axis: int) -> Any:
        return super().concatenate(list(parts)[::-1], axis)


class TakesOneRowMore(Sound):
    def rows(self, array: Any, where: slice, axis: int) -> Any:
        return super().rows(array, slice(where.start, where.stop + 1), axis)


class ForgetsWhatWasReturned(Sound):
    def awaiting(self, function: Any) -> Any:
        return lambda *args, **kwargs: function(*args, **kwargs) and None


class ReadsOtherValues(Sound):
    def values(self, array: Any) -> Any:
        return np.zeros(array.shape)


class CannotBeRead(Sound):
    def values(self, array: Any) -> Any:
        raise TypeError("no values")


class CallsToFindOut(Sound):
    def needs(self, function: Any, args: Any, kwargs: Any) -> Any:
        function(*args, **kwargs)


class LendsTwice(Sound):
    def lanes(self, count: int) -> Any:
        return nullcontext([(self.stream("compute"), self.stream("communication"))] * count)


class LendsPipesTwice(Sound):
    def pipe(self) -> Any:
        return nullcontext((self.stream("copy_in"), self.stream("compute"), self.stream("copy_out")))


class ForgetsTheFork(Sound):
    """Replays what its first stream did and nothing else."""

    def capture(self, work: Any, *, pool: Any = None) -> Any:
        graph, output = super().capture(work, pool=pool)
        capture = graph._capture
        capture.calls[:] = [
            call for call in capture.calls if call.stream == capture.origin and call.kind != "wait"
        ]
        return graph, output


class CapturesOnEagerStreams(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.device.inside = lambda: None  # type: ignore[method-assign]


class ForgetsWaits(Sound):
    class kind_of_stream(SimulatedStream):
        __slots__ = ()

        def wait(self, event: Any) -> None:
            pass


class WaitsForTheLatest(Sound):
    """A wait that looks at its event only when it is its turn."""

    class kind_of_stream(SimulatedStream):
        __slots__ = ()

        def wait(self, event: Any) -> None:
            class Latest:
                error = None

                @property
                def done(self) -> bool:
                    return event.mark is None or bool(event.mark.done)

            self._device.executor.wait(self.number, Latest())  # type: ignore[arg-type]


class KeepsTheFirstRecord(Sound):
    def event(self) -> Any:
        class Event(SimulatedEvent):
            __slots__ = ()

            def record(self, stream: Any) -> None:
                if self.mark is None:
                    super().record(stream)

        return Event(self.device, 0)


class NeverDone(Sound):
    def event(self) -> Any:
        class Event(SimulatedEvent):
            __slots__ = ()

            def done(self) -> bool:
                return self.mark is not None and super().done()

        return Event(self.device, 0)


class StaysActive(Sound):
    class kind_of_stream(SimulatedStream):
        __slots__ = ()

        @contextmanager
        def activate(self) -> Iterator[None]:
            self._device.make_current(self)
            yield


class IsNeverActive(Sound):
    starved = "default"

    class kind_of_stream(SimulatedStream):
        __slots__ = ()

        @contextmanager
        def activate(self) -> Iterator[None]:
            yield


class LastFirst(Sound):
    class kind_of_stream(SimulatedStream):
        waiting: list[Callable[[], object]] = []  # noqa: RUF012

        def submit(self, work: Callable[[], object]) -> None:
            self.waiting.append(work)

        def synchronize(self, timeout: float | None = None) -> bool:
            while self.waiting:
                super().submit(self.waiting.pop())
            return super().synchronize(timeout)


class SwallowsErrors(Sound):
    class kind_of_stream(SimulatedStream):
        __slots__ = ()

        def submit(self, work: Callable[[], object]) -> None:
            try:
                super().submit(work)
            except KeyError:
                pass


class ForgetsItsPurpose(Sound):
    def stream(self, purpose: Any) -> Any:
        return SimulatedStream(self.device, 1, "compute")


class MakesBytes(Sound):
    def empty(self, shape: Any, like: Any) -> Any:
        return DeviceArray.empty(self.device, shape, np.uint8)


class CopiesTooMuch(Sound):
    def copy(self, destination: Any, source: Any) -> None:
        whole = destination.viewed(destination.block.data[: destination.nbytes].view(destination.dtype))
        super().copy(
            whole if destination.size else destination, whole * 0 + 5 if destination.size else source
        )


class JoinsBackwards(Sound):
    def concatenate(self, parts: Any, axis: int) -> Any:
        return super().concatenate(parts[::-1], axis)


class TakesViews(Sound):
    def take(self, array: Any, indices: Any, axis: int) -> Any:
        return array[: len(indices)] if axis == 0 else array[:, : len(indices)]


class ScattersInOrder(Sound):
    def scatter(self, destination: Any, indices: Any, source: Any, axis: int) -> None:
        super().scatter(destination, sorted(indices), source, axis)


class OwnsEverything(Sound):
    def owns(self, array: object) -> bool:
        return True


class SupportsNothing(Sound):
    def unsupported(self, array: Any) -> str | None:
        return "it is not mine"


class LacksAMember(Sound):
    reclaim = None  # type: ignore[assignment]


class ReadsTooMuch(Sound):
    def memory(self) -> Any:
        reading = super().memory()
        object.__setattr__(reading, "usable", reading.capacity + 1)
        return reading


class RetriesEverything(Sound):
    def classify(self, error: BaseException) -> Any:
        return FailureKind.OOM


class CallsItAnError(Sound):
    def classify(self, error: BaseException) -> Any:
        return FailureKind.OTHER


class ReclaimsTooMuch(Sound):
    def reclaim(self) -> None:
        super().reclaim()
        for block in self.device.memory._live.values():
            block.data.fill(0)


class CollectsItself(Sound):
    def reclaim(self) -> None:
        gc.collect()
        super().reclaim()


class KeepsVariables(Sound):
    def thread_state(self) -> Any:
        state = super().thread_state()
        state._variables = []
        return state


class OneThreadAtATime(Sound):
    def thread_state(self) -> Any:
        busy = threading.Lock()

        @contextmanager
        def apply() -> Iterator[None]:
            if not busy.acquire(blocking=False):
                raise RuntimeError("somebody else is here")
            try:
                yield
            finally:
                busy.release()

        return SimpleNamespace(apply=apply)


class LimitsOnce(Sound):
    limited = False

    @contextmanager
    def parallel_limits(self, workers: int) -> Iterator[None]:
        if self.limited:
            raise RuntimeError("limited already")
        self.limited = True
        yield


class LimitsMustBeEntered(Sound):
    @contextmanager
    def worker_limits(self, workers: int) -> Iterator[None]:
        yield


class FreezesGraphs(Sound):
    def capture(self, work: Any, *, pool: object | None = None) -> Any:
        return SimpleNamespace(replay=lambda: None, bytes_held=lambda: 0), work()


class RefusesFunctions(Sound):
    def capture_refused(self, error: BaseException) -> bool:
        return True


class BringsNothingBack(Sound):
    def to_host(self, destination: Any, source: Any) -> None:
        pass


class FallingPeak(Sound):
    def peak_mark(self) -> Any:
        return SimpleNamespace(in_use=self.memory().in_use, peak=lambda: -1)


class RangesEatErrors(Sound):
    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        try:
            yield
        except KeyError:
            pass


class TimesRunBackwards(Sound):
    def timed_event(self) -> TimedEvent:
        return TimedEvent(self, -1)


class WatchesOnce(Sound):
    watched = False

    def watch_calls(self) -> None:
        if self.watched:
            raise RuntimeError("watched already")
        self.watched = True


class RestlessModes(Sound):
    def mode_depth(self) -> object:
        return object()


class TrialsEatErrors(Sound):
    @contextmanager
    def trial(self) -> Iterator[Callable[[], bool]]:
        try:
            yield lambda: False
        except KeyError:
            pass


class GivesTheHosts(Sound):
    def from_host(self, array: Any) -> Any:
        return array


class OtherRanks(Sound):
    grouping = "sys"

    def ranks(self, group: object | None) -> Any:
        return SimpleNamespace(rank=0, size=2)


class Unannounced(Sound):
    """No plugin has that name."""


BROKEN = [
    (ForgetsWaits, "events_order_work_of_different_streams"),
    (WaitsForTheLatest, "a_wait_keeps_what_the_event_stood_for"),
    (KeepsTheFirstRecord, "an_event_stands_for_its_latest_record"),
    (NeverDone, "an_event_that_was_never_recorded_is_done"),
    (StaysActive, "activate_puts_the_former_stream_back"),
    (IsNeverActive, "work_in_an_active_stream_is_ordered_there"),
    (LastFirst, "work_of_one_stream_is_in_order"),
    (SwallowsErrors, "the_error_of_submitted_work_is_raised_once"),
    (ForgetsItsPurpose, "the_stream_of_a_purpose_is_always_the_same"),
    (MakesBytes, "empty_has_shape_dtype_and_owner"),
    (CopiesTooMuch, "copy_writes_a_slice_and_nothing_else"),
    (JoinsBackwards, "concatenate_is_numpys"),
    (TakesViews, "take_is_numpys"),
    (ScattersInOrder, "scatter_is_the_inverse_of_take"),
    (OwnsEverything, "it_owns_its_arrays_and_nothing_else"),
    (SupportsNothing, "plain_arrays_are_supported"),
    (LacksAMember, "every_member_of_the_protocol_is_there"),
    (ReadsTooMuch, "a_memory_reading_can_be_true"),
    (RetriesEverything, "failures_are_told_apart"),
    (CallsItAnError, "running_out_of_memory_is_told_and_survived"),
    (ReclaimsTooMuch, "reclaim_keeps_live_arrays"),
    (CollectsItself, "reclaim_collects_no_garbage"),
    (KeepsVariables, "thread_state_is_carried_and_put_back"),
    (OneThreadAtATime, "a_state_may_be_applied_by_several_threads_at_once"),
    (LimitsOnce, "limits_may_be_entered"),
    (LimitsMustBeEntered, "limits_may_be_left_twice_and_without_having_been_entered"),
    (FreezesGraphs, "a_graph_replays_with_new_values"),
    (LendsTwice, "streams_are_lent_to_one_step_at_a_time"),
    (LendsPipesTwice, "pipes_are_lent_to_one_step_at_a_time"),
    (ForgetsTheFork, "a_graph_holds_several_streams"),
    (CapturesOnEagerStreams, "streams_of_a_capture_are_its_own"),
    (RefusesFunctions, "an_error_of_the_function_is_not_a_refused_capture"),
    (BringsNothingBack, "transfer_goes_there_and_back"),
    (FallingPeak, "a_peak_is_never_below_what_was_in_use"),
    (RangesEatErrors, "named_ranges_nest_and_end_with_an_error"),
    (TimesRunBackwards, "timed_events_tell_how_long_work_took"),
    (WatchesOnce, "watching_calls_changes_nothing"),
    (RestlessModes, "modes_that_did_not_change_compare_equal"),
    (TrialsEatErrors, "trials_leave_no_trace"),
    (JoinsInAnotherOrder, "parts_that_cannot_be_written_to_are_joined"),
    (TakesOneRowMore, "rows_are_those_of_a_slice"),
    (ForgetsWhatWasReturned, "what_a_function_returns_is_waited_for"),
    (ReadsOtherValues, "values_are_those_of_the_array"),
    (CannotBeRead, "a_plain_step_is_tried_and_cut"),
    (CallsToFindOut, "needs_are_told_or_not"),
    (GivesTheHosts, "host_arrays_become_arrays_of_the_backend"),
    (OtherRanks, "the_ranks_of_a_process_stay_the_same"),
    (Unannounced, "probing_imports_no_framework"),
]
"""A backend, and the check that must notice what is wrong with it."""


def suite(made: type[Sound], announced: str | None) -> Any:
    """The suite for `made`, in here so that pytest does not collect it."""

    class Made(BackendSuite):
        registered_name = announced

        def make_backend(self) -> Any:
            return made()

        def make_array(self, backend: Any, values: np.ndarray) -> Any:
            array = backend.array(values)
            backend.device.finish_all()
            return array

        def to_numpy(self, array: Any) -> np.ndarray:
            return array.view

        def run_out_of_memory(self, backend: Any) -> None:
            kept: list[Any] = []
            while True:
                kept.append(backend.array(np.zeros(64)))

    return Made()


def test_each_check_has_a_backend_that_it_notices() -> None:
    checks = {name.removeprefix("check_") for name in dir(BackendSuite) if name.startswith("check_")}
    assert {check for _, check in BROKEN} == checks


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_promise_fails_its_check(broken: type[Sound], check: str) -> None:
    failures = (
        AssertionError,
        ValueError,
        RuntimeError,
        TypeError,
        BaseExceptionGroup,
        pytest.fail.Exception,
    )
    with pytest.raises(failures):
        getattr(suite(broken, "nowhere"), f"test_{check}")()


@pytest.mark.parametrize("check", [check for _, check in BROKEN])
def test_a_sound_backend_passes(check: str) -> None:
    """The twin: what the broken ones fail at is what is broken in them."""
    sound = SoundAndJoined if check == "parts_that_cannot_be_written_to_are_joined" else Sound
    getattr(suite(sound, "cpu"), f"test_{check}")()
