"""Work of a device is shown as its events tell, on the clock of the host."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import microbatch
from microbatch.extend.abilities import SupportsTimedEvents
from microbatch.extend.device import device_of
from microbatch.testing import RecordingBackend
from microbatch.testing.given_plugins import GivenBackends
from microbatch.timeline.recording import Recording
from microbatch.timeline.track import Track, Where
from microbatch.turns.runtime import ThreadRuntime

pytestmark = pytest.mark.counted


class Clock:
    """The device comes to each event 10 s after it was recorded."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Event:
    """Knows when it was recorded."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.time = -1.0

    def record(self, stream: Any) -> None:
        self.time = self.clock.now + 10

    def synchronize(self, timeout: float | None = None) -> bool:
        self.clock.now = max(self.clock.now, self.time)
        return True

    def seconds_until(self, later: Event) -> float:
        return later.time - self.time

    def another(self) -> Event:
        return Event(self.clock)


class Timed(RecordingBackend):
    """A simulated device with events that have times."""

    clock = Clock()

    def timed_event(self) -> Event:
        return Event(self.clock)


def test_a_device_works_later_than_it_is_told_to() -> None:
    """The host launches from 1 to 3; the device does it from 11 to 13."""
    backend = Timed()
    backend.clock = clock = Clock()
    recording = Recording()
    where = Where(
        recording=recording,
        runtime=cast("Any", clock_runtime(clock)),
        device=device_of(backend),
        step=0,
    )
    track = Track(where, 4)
    clock.now = 1.0
    with track.phase("compute"):
        clock.now = 3.0
    found = [(bar.kind, bar.start, bar.end, bar.ubatch) for bar in recording.bars(clock.monotonic)]
    assert found == [("thread", 1.0, 3.0, 4), ("stream", 11.0, 13.0, 4)]


def clock_runtime(clock: Clock) -> Any:
    runtime = ThreadRuntime()

    class Runtime:
        monotonic = staticmethod(clock.monotonic)
        current = staticmethod(runtime.current)

    return Runtime()


def test_a_backend_says_that_it_can() -> None:
    """It is an ability like any other."""
    assert isinstance(Timed(), SupportsTimedEvents)
    assert device_of(Timed()).timed is not None
    assert device_of(RecordingBackend()).timed is None


@pytest.mark.parametrize("schedule", ["sequential", "pingpong", "streamed"])
def test_streams_have_lanes(schedule: str) -> None:
    """Each ubatch is seen on a stream, and figures are those of the streams."""
    device = Timed()
    device.clock = Clock()
    options: dict[str, Any] = {"policy": "fixed", "num_ubatches": 2, "schedule": schedule}
    wrapped = microbatch.wrap(lambda x: x + 1, backend=device.name, plugins=GivenBackends(device), **options)
    with wrapped, microbatch.record() as seen:
        wrapped(device.array(np.zeros((4, 2))))
    streams = [bar for bar in seen.bars if bar.kind == "stream"]
    assert {bar.ubatch for bar in streams if bar.phase == "compute"} == {0, 1}
    assert seen.steps[0].asynchronous
    assert all("stream" in bar.lane for bar in streams)


def test_without_such_events_nothing_is_shown_of_the_device() -> None:
    """The threads are recorded all the same."""
    device = RecordingBackend()
    wrapped = microbatch.wrap(
        lambda x: x + 1, backend=device.name, plugins=GivenBackends(device), policy="fixed", num_ubatches=2
    )
    with wrapped, microbatch.record() as seen:
        wrapped(device.array(np.zeros((4, 2))))
    assert {bar.kind for bar in seen.bars} == {"thread"}
