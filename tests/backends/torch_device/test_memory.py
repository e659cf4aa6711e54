"""Device memory from a fake allocator: what is free, what presses, and that nothing is ever reset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the torch backends need PyTorch")

from microbatch_backends.host.memory import HostMemory
from microbatch_backends.torch_device.device_module import DeviceModule
from microbatch_backends.torch_device.memory import DeviceMemory


def stats(active: int, reserved: int, peak: int | None = None, retries: int = 0) -> dict[str, int]:
    return {
        "active_bytes.all.current": active,
        "active_bytes.all.peak": active if peak is None else peak,
        "reserved_bytes.all.current": reserved,
        "num_alloc_retries": retries,
    }


def memory(cuda: Any, **options: Any) -> DeviceMemory:
    return DeviceMemory(DeviceModule("cuda", cuda), fresh=0, **options)


def test_cached_blocks_are_free_and_reserved_is_not_pressure(cuda: Any) -> None:
    cuda.free, cuda.stats = 600, stats(active=100, reserved=300)
    reading = memory(cuda).read()
    assert (reading.capacity, reading.in_use, reading.usable) == (1000, 100, 800)
    assert reading.pressure == pytest.approx(100 / 900)


def test_a_fraction_caps_what_can_be_used(cuda: Any) -> None:
    cuda.stats, cuda.limit = stats(active=100, reserved=300), 0.5
    reading = memory(cuda).read()
    assert (reading.capacity, reading.usable, reading.pressure) == (500, 400, 0.2)


def test_an_allocator_without_counters_is_read_from_the_driver(cuda: Any) -> None:
    cuda.backend, cuda.free = "cudaMallocAsync", 250
    reading = memory(cuda).read()
    assert (reading.in_use, reading.usable, reading.pressure) == (750, 250, 0.75)


def test_an_unused_device_with_a_full_neighbour_is_not_pressed_by_us(cuda: Any) -> None:
    cuda.free, cuda.stats = 10, stats(active=0, reserved=0)
    reading = memory(cuda).read()
    assert (reading.in_use, reading.usable, reading.pressure) == (0, 10, 0.0)


def test_a_peak_counts_only_in_the_reading_after_it_moved(cuda: Any) -> None:
    cuda.free, cuda.stats = 500, stats(active=100, reserved=500, peak=400)
    read = memory(cuda).read
    assert read().pressure == 0.1 and read().peak == 400
    cuda.stats = stats(active=100, reserved=500, peak=450)
    assert read().pressure == pytest.approx(0.45)
    assert read().pressure == 0.1
    cuda.stats = stats(active=100, reserved=500, peak=100)  # the user reset it
    assert read().pressure == 0.1 and read().peak == 450


def test_a_flushed_cache_presses_once(cuda: Any) -> None:
    cuda.stats = stats(active=10, reserved=300, retries=3)
    read = memory(cuda).read
    assert read().pressure < 0.1
    cuda.stats = stats(active=10, reserved=300, retries=4)
    assert read().pressure == 0.85
    assert read().pressure < 0.1


def test_an_integrated_device_has_no_more_than_the_host(cuda: Any, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 0 kB\n")
    cuda.stats, cuda.shared_with_host = stats(active=100, reserved=300), True
    assert memory(cuda, host=HostMemory(tmp_path, limits=dict)).read().usable == 0


def test_each_device_has_readings_of_its_own_for_ten_milliseconds(cuda: Any) -> None:
    now = [1.0]
    read = DeviceMemory(DeviceModule("cuda", cuda), clock=lambda: now[0]).read
    cuda.stats = stats(active=100, reserved=300)
    first = read()
    cuda.stats = stats(active=200, reserved=300)
    assert read() is first
    with cuda.device(1):
        assert read().in_use == 200
    now[0] += 0.011
    assert read().in_use == 200


@given(
    total=st.integers(1, 1000),
    taken=st.integers(0, 1000),
    reserved=st.integers(0, 1000),
    active=st.integers(0, 1000),
    fraction=st.floats(0.01, 1),
)
def test_a_reading_is_consistent_even_when_co_tenants_come_and_go(
    total: int, taken: int, reserved: int, active: int, fraction: float
) -> None:
    from types import SimpleNamespace

    fake = SimpleNamespace(
        current_device=lambda: 0,
        mem_get_info=lambda index: (max(0, total - taken), total),
        memory_stats=lambda index: stats(min(active, reserved), reserved),
        get_per_process_memory_fraction=lambda index: fraction,
    )
    reading = memory(fake).read()
    assert 1 <= reading.capacity <= total and reading.usable >= 0
    assert reading.usable <= reading.capacity
    assert 0 <= reading.in_use <= reading.peak and 0 <= reading.pressure <= 1


def test_torch_cpu_passes_as_a_device_module() -> None:
    module = DeviceModule("cpu")
    with module.activate(module.current_stream()):
        pass
    assert module.new_event().query() and not module.integrated(0) and module.fraction(0) == 1.0
