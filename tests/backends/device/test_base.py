"""The base of device backends, filled in as another package would do it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from microbatch.errors import ArgumentTypeError, StreamsExhaustedError
from microbatch.extend.abilities import SupportsGraphs, SupportsLanes, SupportsProbe, SupportsTransfer
from microbatch.extend.protocols import Backend, ThreadState
from microbatch.extend.records import MemoryReading
from microbatch.testing import BackendSuite
from microbatch_backends.device.backend import DeviceBackend
from microbatch_backends.device.capture import capture_of, capture_refused, one_capture
from microbatch_backends.device.readings import DeviceReadings
from microbatch_backends.host import arrays
from microbatch_backends.host.state import HostState


class RawStream:
    """A stream whose work is done at once."""

    def __init__(self, priority: int = 0) -> None:
        self.priority = priority
        self.waits: list[Any] = []

    def wait_event(self, event: Any) -> None:
        self.waits.append(event)

    def synchronize(self) -> None:
        pass


class RawEvent:
    """An event that is done after `late` questions."""

    def __init__(self) -> None:
        self.late = 0
        self.synchronized = 0

    def record(self, stream: RawStream) -> None:
        assert isinstance(stream, RawStream)

    def synchronize(self) -> None:
        self.synchronized += 1


class AcmeDriver:
    """Two devices that compute at once; device and stream are per thread."""

    def __init__(self) -> None:
        self.local = threading.local()
        self.default = RawStream()
        self.emptied = 0

    def index(self) -> int:
        return getattr(self.local, "index", 0)

    def new_stream(self, priority: int) -> RawStream:
        return RawStream(priority)

    def new_event(self) -> RawEvent:
        return RawEvent()

    def finished(self, event: RawEvent) -> bool:
        event.late -= 1
        return event.late < 0

    def current_stream(self) -> RawStream:
        return getattr(self.local, "stream", self.default)

    @contextmanager
    def activate(self, stream: RawStream, index: int) -> Iterator[None]:
        before = self.index(), self.current_stream()
        self.local.index, self.local.stream = index, stream
        try:
            yield
        finally:
            self.local.index, self.local.stream = before

    def name(self, index: int) -> str:
        return f"Acme {index}"

    def integrated(self, index: int) -> bool:
        return index == 1

    def empty_cache(self) -> None:
        self.emptied += 1


class OtherDriver(AcmeDriver):
    """Of another framework."""


class AcmeReadings(DeviceReadings):
    def _take(self, index: int, peak: int) -> MemoryReading:
        return MemoryReading(capacity=100, in_use=10, usable=90, peak=max(peak, 10), pressure=0.1)


class AcmeState:
    """Context variables and the stream of the calling thread."""

    def __init__(self, driver: AcmeDriver) -> None:
        self.driver, self.state = driver, HostState()
        self.place = driver.current_stream(), driver.index()

    @contextmanager
    def apply(self) -> Iterator[None]:
        with self.state.apply(), self.driver.activate(*self.place):
            yield


class AcmeBackend(DeviceBackend):
    """What another package writes: its arrays are NumPy's."""

    name = "acme"
    owns = staticmethod(arrays.is_host_array)
    empty = staticmethod(arrays.empty)
    copy = staticmethod(arrays.copy)
    concatenate = staticmethod(arrays.concatenate)
    take = staticmethod(arrays.take)
    scatter = staticmethod(arrays.scatter)
    differentiable = staticmethod(arrays.differentiable)
    unsupported = staticmethod(arrays.unsupported)

    def __init__(self, driver: AcmeDriver | None = None) -> None:
        self.acme = driver or AcmeDriver()
        super().__init__(self.acme, AcmeReadings(self.acme))

    def thread_state(self) -> ThreadState:
        return AcmeState(self.acme)


class TestAcme(BackendSuite):
    frameworks = ("torch", "cupy")

    def make_backend(self) -> Any:
        return AcmeBackend()

    def make_array(self, backend: Any, values: np.ndarray) -> Any:
        return values.copy()

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)


def draw(driver: AcmeDriver) -> Callable[..., Any]:
    return lambda priority, taken: driver.new_stream(priority)


def test_a_subclass_has_what_the_base_gives_and_no_ability_it_did_not_write() -> None:
    backend = AcmeBackend()
    for has in (Backend, SupportsLanes, SupportsProbe):
        assert isinstance(backend, has)
    assert not isinstance(backend, SupportsGraphs | SupportsTransfer)


def test_the_base_loads_no_framework() -> None:
    modules = "backend", "capture", "driver", "readings", "streams"
    code = "".join(f"import microbatch_backends.device.{name}; " for name in modules)
    code += "import sys; assert not {'torch', 'cupy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_limited_wait_asks_until_done_and_then_synchronizes() -> None:
    backend = AcmeBackend()
    event = backend.event()
    event.record(backend.stream("compute"))
    event.raw.late = 3
    assert event.synchronize(20)
    assert event.raw.synchronized == 1
    event.raw.late = 1 << 30
    assert not event.synchronize(0) and event.raw.synchronized == 1


@pytest.mark.parametrize("other", [AcmeBackend(OtherDriver()).event(), object()])
def test_an_event_of_another_framework_is_refused(other: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="one backend together"):
        AcmeBackend().stream("compute").wait(other)


def test_streams_of_two_devices_differ_though_the_framework_calls_them_equal() -> None:
    backend = AcmeBackend()
    first = backend.current_stream()
    with backend.acme.activate(backend.acme.default, 1):
        assert backend.current_stream() != first and backend.current_stream().raw is first.raw
    assert backend.current_stream() == first and hash(backend.current_stream()) == hash(first)


def test_a_capture_has_streams_of_its_own_and_the_same_each_time() -> None:
    backend = AcmeBackend()
    eager = backend.stream("compute")
    with one_capture(backend.acme, draw(backend.acme)) as lanes:
        inside = backend.stream("compute")
        assert inside is backend.stream("compute") is not eager and inside.raw is not lanes.first
        with backend.lanes(2) as pairs, backend.lanes(2) as again:
            assert [id(stream) for pair in pairs for stream in pair] == [
                id(stream) for pair in again for stream in pair
            ]
    assert backend.stream("compute") is eager and capture_of(backend.acme) is None


def test_a_capture_inside_one_of_another_framework_hides_neither() -> None:
    one, other = AcmeBackend(), AcmeBackend(OtherDriver())
    with one_capture(one.acme, draw(one.acme)) as outer, one_capture(other.acme, draw(other.acme)) as inner:
        assert capture_of(one.acme) is outer and capture_of(other.acme) is inner


@pytest.mark.parametrize("attribute", ["status", "error_code"])
def test_a_refusal_is_known_by_its_number_under_either_name(attribute: str) -> None:
    error = RuntimeError("localised")
    setattr(error, attribute, 901)
    assert capture_refused(error)
    setattr(error, attribute, 700)
    assert not capture_refused(error)
    assert capture_refused(StreamsExhaustedError("all are in use"))


def test_reclaim_empties_the_cache() -> None:
    backend = AcmeBackend()
    backend.reclaim()
    assert backend.acme.emptied == 1
