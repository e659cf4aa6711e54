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
from microbatch.host.forks import FORKS
from microbatch.testing import BackendSuite
from microbatch_backends.device.backend import DeviceBackend
from microbatch_backends.device.capture import CaptureLanes, capture_of, capture_refused, one_capture
from microbatch_backends.device.readings import DeviceReadings
from microbatch_backends.host import arrays
from microbatch_backends.host.state import HostState
from tests.support.interrupts import Interrupt, in_thread_of_its_own
from tests.support.threads import switching_often


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

    def captured(lanes: CaptureLanes) -> None:
        inside = backend.stream("compute")
        assert inside is backend.stream("compute") is not eager and inside.raw is not lanes.first
        with backend.lanes(2) as pairs, backend.lanes(2) as again:
            assert [id(stream) for pair in pairs for stream in pair] == [
                id(stream) for pair in again for stream in pair
            ]

    one_capture(backend.acme, draw(backend.acme), captured)
    assert backend.stream("compute") is eager and capture_of(backend.acme) is None


def test_a_capture_inside_one_of_another_framework_hides_neither() -> None:
    one, other = AcmeBackend(), AcmeBackend(OtherDriver())

    def captured(outer: CaptureLanes) -> CaptureLanes:
        def inside(inner: CaptureLanes) -> CaptureLanes:
            assert capture_of(one.acme) is outer and capture_of(other.acme) is inner
            return inner

        return one_capture(other.acme, draw(other.acme), inside)

    assert one_capture(one.acme, draw(one.acme), captured) is not None
    assert capture_of(one.acme) is capture_of(other.acme) is None


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


def test_captures_of_several_threads_follow_each_other() -> None:
    backend, inside = AcmeBackend(), list[int]()

    def captured(lanes: CaptureLanes) -> None:
        inside.append(1)
        assert len(inside) == 1 and capture_of(backend.acme) is lanes
        inside.pop()

    def work() -> None:
        for _ in range(50):
            one_capture(backend.acme, draw(backend.acme), captured)

    with switching_often():
        in_threads(work, work, work)
    assert capture_of(backend.acme) is None


def test_a_forked_child_does_not_wait_for_a_capture_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that captures is in the parent, and would never say that it has ended."""
    backend, begun, over = AcmeBackend(), threading.Event(), threading.Event()

    def long(lanes: CaptureLanes) -> None:
        begun.set()
        assert over.wait(30)

    other = threading.Thread(target=lambda: one_capture(backend.acme, draw(backend.acme), long))
    other.start()
    assert begun.wait(30)
    with monkeypatch.context() as child:
        child.setattr(FORKS, "count", FORKS.count + 1)
        assert one_capture(backend.acme, draw(backend.acme), lambda lanes: "captured") == "captured"
    over.set()
    other.join(30)


@in_thread_of_its_own
def test_an_interrupt_at_any_bytecode_ends_the_capture() -> None:
    """For its own thread, and for others that wait."""
    backend, kept = AcmeBackend(), list[KeyboardInterrupt]()
    for at in range(1, 2000):
        interrupt = Interrupt(at, ("device/capture.py", "turns/one_at_a_time.py"))
        try:
            with interrupt:
                one_capture(backend.acme, draw(backend.acme), lambda lanes: None)
        except KeyboardInterrupt as error:
            kept[:] = [error]
        assert capture_of(backend.acme) is None, f"bytecode {at}"
        in_threads(lambda: one_capture(backend.acme, draw(backend.acme), lambda lanes: None))
        if interrupt.seen < at:
            break
    assert at > 100


def test_two_threads_that_ask_first_get_the_same_stream() -> None:
    made: list[object] = []
    for _ in range(30):
        backend = AcmeBackend()
        with switching_often():
            in_threads(*[lambda: made.append(backend.stream("compute"))] * 3)  # noqa: B023
        assert len(set(map(id, made))) == 1
        made.clear()


def in_threads(*works: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def carry(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)

    threads = [threading.Thread(target=carry, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread waits for ever"
    if failed:
        raise failed[0]
