"""The `cupy` backend on two devices, and in details; `tests/gpu` has its suite, with or without a device."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError, BackendUnavailableError
from microbatch.extend.abilities import SupportsProbe
from microbatch.extend.records import FailureKind
from microbatch_backends.cupy_device import namespace as seam
from microbatch_backends.cupy_device import transfer
from microbatch_backends.cupy_device.backend import CupyBackend
from microbatch_backends.cupy_device.memory import CupyMemory
from microbatch_backends.probes import probe_cupy

CUBLAS_REFUSAL = NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
"""What CuPy 14 raises there."""


class FakeArray(np.ndarray):
    """NumPy memory that only `set` and `get` may move to and from the host."""

    def set(self, values: np.ndarray, stream: Any = None) -> None:
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        np.copyto(self.view(np.ndarray), values, casting="no")

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        self.cupy.blocked.append(blocking)
        if out is None:
            return self.view(np.ndarray).copy()
        assert out.flags.c_contiguous and self.flags.c_contiguous and out.dtype == self.dtype
        out[...] = self.view(np.ndarray)
        return out  # type: ignore[no-any-return]


class StreamCaptureError(RuntimeError):
    status = 901


class FakeCupy:
    """The part of `cupy` that the backend uses; work runs at once, captures record only allocations."""

    def __init__(self, devices: int = 2) -> None:
        fake = self
        self.place = threading.local()
        self.log: list[tuple[Any, ...]] = []
        self.blocked: list[bool] = []
        self.pinned_addresses: set[int] = set()
        self.ranges: list[str] = []
        self.integrated: set[int] = set()
        self.free, self.total, self.limit, self.used, self.held = 600, 1000, 0, 0, 0
        self.capturing: Any = None
        self.fail_end = False

        class Array(FakeArray):
            cupy = fake

        class Stream:
            def __init__(self, null: bool = False, non_blocking: bool = False, priority: Any = None) -> None:
                self.device, self.non_blocking, self.priority = fake.device(), non_blocking or null, priority

            def use(self) -> Any:
                if self.device != fake.device():
                    raise RuntimeError("the stream is of another device")
                fake.streams()[self.device] = self
                return self

            def record(self, event: Any = None) -> Any:
                return event

            def wait_event(self, event: Any) -> None:
                fake.log.append(("wait", self, event))

            def synchronize(self) -> None:
                fake.log.append(("synchronize", self))

            def begin_capture(self, mode: Any = None) -> None:
                fake.log.append(("capture", mode))
                fake.capturing = self

            def end_capture(self) -> Any:
                fake.capturing = None
                if fake.fail_end:
                    raise StreamCaptureError("cudaErrorStreamCaptureInvalidated")
                return SimpleNamespace(launch=lambda stream: fake.log.append(("launch", stream)))

        class Event:
            done = True

            def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
                self.timed = not disable_timing

            def record(self, stream: Any = None) -> None:
                fake.log.append(("record", stream, self))
                self.place = len(fake.log)

            def synchronize(self) -> None:
                pass

        def elapsed(first: Event, last: Event) -> float:
            assert first.timed and last.timed
            return float(last.place - first.place)

        class Device:
            def __init__(self, index: int) -> None:
                self.index = index

            def use(self) -> None:
                assert 0 <= self.index < devices
                fake.place.device = self.index

        class MemoryPool:
            def malloc(self, size: int) -> Any: ...
            def used_bytes(self) -> int:
                return fake.used

            def total_bytes(self) -> int:
                return fake.held

            def get_limit(self) -> int:
                return fake.limit

            def free_all_blocks(self) -> None:
                fake.log.append(("free",))

        self.nulls = {}
        self.pool = MemoryPool()
        self.make_stream = Stream
        self.ndarray = Array
        self.cuda = SimpleNamespace(
            Stream=Stream,
            Event=Event,
            get_elapsed_time=elapsed,
            Device=Device,
            MemoryPool=MemoryPool,
            get_current_stream=self.current_stream,
            get_allocator=lambda: getattr(self.place, "allocator", self.pool.malloc),
            using_allocator=self.using_allocator,
            alloc_pinned_memory=self.alloc_pinned_memory,
            is_available=lambda: devices > 0,
            nvtx=SimpleNamespace(RangePush=self.ranges.append, RangePop=self.ranges.pop),
            runtime=SimpleNamespace(
                getDevice=self.device,
                getDeviceProperties=lambda device: {"name": f"Fake {device}".encode()},
                deviceGetAttribute=lambda attribute, device: int(
                    attribute == 18 and device in self.integrated
                ),
                memGetInfo=lambda: (self.free, self.total),
                streamCaptureModeThreadLocal=1,
                pointerGetAttributes=lambda address: SimpleNamespace(
                    type=int(address in self.pinned_addresses)
                ),
            ),
        )

    def device(self) -> int:
        return getattr(self.place, "device", 0)

    def streams(self) -> dict[int, Any]:
        if not hasattr(self.place, "streams"):
            self.place.streams = {}
        return self.place.streams  # type: ignore[no-any-return]

    def current_stream(self) -> Any:
        index = self.device()
        if index not in self.nulls:
            self.nulls[index] = self.make_stream(null=True)
        return self.streams().get(index, self.nulls[index])

    @contextlib.contextmanager
    def using_allocator(self, allocator: Any) -> Iterator[None]:
        before = self.cuda.get_allocator()
        self.place.allocator = allocator
        try:
            yield
        finally:
            self.place.allocator = before

    def alloc_pinned_memory(self, size: int) -> Any:
        memory = np.empty(size, np.uint8)
        self.pinned_addresses.add(int(memory.ctypes.data))
        return memory

    def empty(self, shape: Any, dtype: Any = float, order: Any = "C") -> Any:
        return np.empty(shape, dtype, order).view(self.ndarray)

    def asarray(self, values: Any) -> Any:
        return np.array(values).view(self.ndarray)

    def ascontiguousarray(self, array: Any) -> Any:
        return np.ascontiguousarray(array).view(self.ndarray)

    def copyto(self, destination: Any, source: Any) -> None:
        assert isinstance(source, self.ndarray)
        np.copyto(destination, source)

    def concatenate(self, parts: Any, axis: int = 0) -> Any:
        return np.concatenate(parts, axis)

    def take(self, array: Any, indices: Any, axis: int) -> Any:
        assert isinstance(indices, self.ndarray)
        return np.take(array, indices, axis)


@given(rows=st.integers(1, 20), parts=st.integers(1, 5))
def test_rows_taken_apart_and_joined_are_the_same_rows(rows: int, parts: int) -> None:
    fake = FakeCupy()
    backend = CupyBackend(fake)
    values = fake.asarray(np.arange(rows * 3.0).reshape(rows, 3))
    cut = np.linspace(0, rows, min(parts, rows) + 1).astype(int).tolist()
    pieces = [backend.take(values, range(start, stop), 0) for start, stop in pairwise(cut)]
    np.testing.assert_array_equal(backend.concatenate(pieces, 0), values)


@pytest.mark.pitfall(29)
def test_activation_puts_back_a_stream_of_another_device() -> None:
    fake = FakeCupy()
    backend = CupyBackend(fake)
    fake.cuda.Device(1).use()
    there = backend.stream("compute")
    fake.cuda.Device(0).use()
    mine = backend.stream("compute")
    assert there != mine and there is not mine
    with mine.activate():
        with there.activate():
            assert fake.device() == 1 and backend.current_stream() == there
        assert fake.device() == 0 and backend.current_stream() == mine
    assert backend.current_stream() == backend.current_stream() != mine


def test_named_ranges_are_closed_in_turn_and_after_an_error() -> None:
    fake = FakeCupy()
    backend = CupyBackend(fake)
    with pytest.raises(KeyError), backend.range("step"), backend.range("ubatch 0"):
        assert fake.ranges == ["step", "ubatch 0"]
        raise KeyError("row")
    assert fake.ranges == []


def test_streams_do_not_block_on_the_legacy_stream() -> None:
    backend = CupyBackend(FakeCupy())
    assert backend.stream("compute").raw.non_blocking
    assert backend.stream("communication").raw.priority < backend.stream("compute").raw.priority


def test_the_state_of_the_caller_reaches_a_worker_and_leaves_it() -> None:
    fake = FakeCupy()
    backend, pool = CupyBackend(fake), fake.cuda.MemoryPool()
    seen: list[Any] = []

    def worker() -> None:
        with state.apply():
            seen.append((fake.device(), fake.current_stream(), fake.cuda.get_allocator()))
        seen.append((fake.device(), fake.cuda.get_allocator()))

    fake.cuda.Device(1).use()
    with backend.stream("copy_in").activate(), fake.using_allocator(pool.malloc):
        state = backend.thread_state()
    thread = threading.Thread(target=worker)
    thread.start()
    thread.join()
    assert seen[0] == (1, backend.stream("copy_in").raw, pool.malloc)
    assert seen[1] == (0, fake.pool.malloc)


@given(
    free=st.integers(0, 1000),
    held=st.integers(0, 500),
    used=st.integers(0, 500),
    limit=st.integers(0, 2000) | st.just(2**64 - 1),
)
def test_readings_follow_the_pool_and_its_limit(free: int, held: int, used: int, limit: int) -> None:
    fake = FakeCupy()
    fake.free, fake.total, fake.held, fake.used, fake.limit = free, 2000, max(held, used), used, limit
    reading = CupyMemory(seam.CupyNamespace(fake)).read()
    unused = max(held, used) - used
    limited = limit not in (0, 2**64 - 1)
    assert reading.usable == max(0, min(limit - used, free + unused) if limited else free + unused)
    assert 0 <= reading.pressure <= 1 and reading.peak >= reading.in_use == used
    reachable = min(limit, free + max(held, used)) if limited else free + max(held, used)
    assert reading.pressure == pytest.approx(min(1.0, used / reachable) if reachable else 1.0)


def test_an_allocator_without_counters_leaves_the_driver_to_ask() -> None:
    fake = FakeCupy()
    with fake.using_allocator(lambda size: None):
        reading = CupyBackend(fake).memory()
    assert (reading.in_use, reading.usable, reading.pressure) == (400, 600, 0.4)


@pytest.mark.pitfall(13)
def test_only_a_pinned_buffer_lets_the_host_go_on() -> None:
    fake = FakeCupy()
    backend, source = CupyBackend(fake), fake.asarray(np.arange(4.0))
    pinned, pageable = backend.staging((4,), source), np.empty(4)
    backend.to_host(pinned, source)
    backend.to_host(pageable, source)
    backend.to_host(np.empty((4, 2))[:, 0], source)
    assert fake.blocked == [False, True, True]
    assert transfer.is_pinned(backend._namespace, pinned)


def test_copies_to_and_from_arrays_with_gaps() -> None:
    fake = FakeCupy()
    backend = CupyBackend(fake)
    wide = fake.empty((3, 4), dtype=np.float64)
    backend.to_device(wide[:, 1:3], np.arange(6.0).reshape(3, 2))
    back = np.zeros((3, 2))
    backend.to_host(back, wide[:, 1:3])
    np.testing.assert_array_equal(back, np.arange(6.0).reshape(3, 2))


def test_a_copy_never_converts() -> None:
    fake = FakeCupy()
    with pytest.raises(ArgumentTypeError, match="would convert"):
        CupyBackend(fake).copy(fake.asarray(np.zeros(2)), fake.asarray(np.zeros(2, "f4")))


@pytest.mark.pitfall(14)
def test_a_capture_is_thread_local_and_has_its_own_pool() -> None:
    fake = FakeCupy()
    backend = CupyBackend(fake)
    pools: list[Any] = []
    graph, result = backend.capture(lambda: pools.append(fake.cuda.get_allocator().__self__) or 7)
    assert result == 7 and len(pools) == 2 and pools[0] is pools[1] is not fake.pool
    assert ("capture", 1) in fake.log
    graph.replay()
    assert fake.log[-1] == ("launch", fake.current_stream())


@pytest.mark.pitfall(28)
def test_a_refused_capture_ends_and_says_why() -> None:
    fake = FakeCupy()
    fake.fail_end = True
    backend = CupyBackend(fake)

    def product() -> None:
        if fake.capturing:
            raise CUBLAS_REFUSAL

    with pytest.raises(NotImplementedError) as caught:
        backend.capture(product)
    assert backend.capture_refused(caught.value)
    assert fake.capturing is None and fake.cuda.get_allocator() == fake.pool.malloc
    with pytest.raises(StreamCaptureError) as ended:
        backend.capture(lambda: None)
    assert backend.capture_refused(ended.value)
    assert not backend.capture_refused(NotImplementedError("abs is not there"))


def test_out_of_memory_of_the_pool_and_the_runtime() -> None:
    pool_error = type("OutOfMemoryError", (MemoryError,), {"__module__": "cupy.cuda.memory"})
    backend = CupyBackend(FakeCupy())
    assert backend.classify(pool_error("Out of memory allocating 512 bytes")) is FailureKind.OOM


def test_reclaim_empties_the_pool_and_waits_for_no_device() -> None:
    fake = FakeCupy()
    backend = CupyBackend(fake)
    backend.stream("compute")
    backend.reclaim()
    assert [entry[0] for entry in fake.log] == ["synchronize", "synchronize", "free"]


def test_events_of_another_backend_are_refused() -> None:
    backend = CupyBackend(FakeCupy())
    with pytest.raises(ArgumentTypeError, match="one backend together"):
        backend.stream("compute").wait(object())  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="one backend together"):
        backend.event().record(object())  # type: ignore[arg-type]


def test_no_device_is_a_reason_and_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seam, "import_module", lambda name: FakeCupy(devices=0))
    with pytest.raises(BackendUnavailableError, match="check that the driver"):
        CupyBackend()


def test_the_probe_names_what_is_missing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microbatch_backends.probes.module_missing", lambda name: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert probe_cupy(tmp_path) == "no NVIDIA driver was found (neither libcuda nor a device node)"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "no device is visible" in str(probe_cupy(tmp_path))


def test_sizes_are_tried_on_devices_with_memory_of_their_own() -> None:
    cupy = FakeCupy(devices=2)
    cupy.integrated.add(1)
    backend = CupyBackend(cupy)
    assert isinstance(backend, SupportsProbe)
    assert backend.may_probe() and backend.may_probe()
    cupy.cuda.Device(1).use()
    assert not backend.may_probe()


def test_the_device_is_named() -> None:
    cupy = FakeCupy(devices=2)
    backend = CupyBackend(cupy)
    assert backend.device_name() == "Fake 0"
    cupy.cuda.Device(1).use()
    assert backend.device_name() == "Fake 1"


def test_events_have_times_only_where_they_are_asked_for() -> None:
    """Those that order work have none, as waiting for them would be slower; CuPy tells milliseconds."""
    fake = FakeCupy()
    backend = CupyBackend(fake)
    assert not backend.event().raw.timed
    first, stream = backend.timed_event(), backend.stream("compute")
    assert first is not None
    first.record(stream)
    last = first.another()
    last.record(stream)
    assert first.seconds_until(last) == 0.001
