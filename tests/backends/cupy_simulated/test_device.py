"""The simulated CuPy device itself: what is queued, what waits, what memory does, and what is put back."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentValueError
from microbatch.testing import cupy_device


def test_work_waits_until_the_host_reads() -> None:
    """Nothing runs at its launch; a read runs what it needs."""
    with cupy_device() as device:
        import cupy

        assert cupy is device.cupy and cupy.cuda.is_available()
        y = cupy.ones(4) * 2 + 1
        assert device.pending >= 3 and device.owns(y) and isinstance(y, cupy.ndarray)
        assert float(y.sum()) == 12


@given(seed=st.integers(0, 1 << 20), waits=st.booleans())
def test_a_forgotten_wait_is_found_and_a_kept_one_is_right(seed: int, waits: bool) -> None:
    """Under some orders by a wrong value, under all by name."""
    with cupy_device(seed) as device:
        cupy = device.cupy
        side = cupy.cuda.Stream(non_blocking=True)
        x = cupy.ones(64) * 3
        if waits:
            side.wait_event(cupy.cuda.get_current_stream().record())
        with side:
            y = x + 1
        side.synchronize()
        values = y.get()
        assert bool(device.races()) is not waits
        assert (values == 4).all() or (np.isnan(values).any() and not waits)


@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=2),
    name=st.sampled_from(["sin", "tanh", "exp", "abs", "negative"]),
    seed=st.integers(0, 99),
)
def test_functions_equal_those_of_numpy(shape: list[int], name: str, seed: int) -> None:
    """Elementwise, views, sums, products, rows taken and written."""
    values = np.random.default_rng(seed).random(shape)
    with cupy_device(seed) as device:
        cupy = device.cupy
        x = cupy.asarray(values)
        np.testing.assert_array_equal(getattr(cupy, name)(x).get(), getattr(np, name)(values))
        np.testing.assert_array_equal(
            cupy.concatenate([x, x[:1]], axis=0).get(), np.vstack([values, values[:1]])
        )
        np.testing.assert_array_equal((x @ x.T).get(), values @ values.T)
        np.testing.assert_array_equal(cupy.take(x, cupy.asarray([0]), axis=1).get(), values[:, :1])
        x[cupy.asarray([0])] = 7
        values[[0]] = 7
        cupy.testing.assert_allclose(x.sum(0), values.sum(0))
        np.testing.assert_array_equal(cupy.ascontiguousarray(x.T).get(), values.T)


def test_nothing_becomes_numpys_by_itself_and_numpys_go_into_nothing() -> None:
    """As CuPy refuses both."""
    with cupy_device() as device:
        x = device.cupy.ones(2)
        for forbidden in (
            lambda: np.asarray(x),
            lambda: x + np.ones(2),
            lambda: device.cupy.dot(x, np.ones(2)),
        ):
            with pytest.raises(TypeError):
                forbidden()


@pytest.mark.parametrize("pinned", [False, True])
def test_copies_with_a_stream_are_made_when_that_comes_to_them(pinned: bool) -> None:
    """What the host writes before shows, and what it reads before is poison."""
    with cupy_device() as device:
        cupy = device.cupy
        stream = cupy.cuda.Stream(non_blocking=True)
        memory = cupy.cuda.alloc_pinned_memory(32) if pinned else bytearray(32)
        host = np.frombuffer(memory, "f8", 4)
        assert bool(cupy.cuda.runtime.pointerGetAttributes(host.ctypes.data).type) is pinned
        host[...] = 1
        with stream:
            x = cupy.empty(4)
            x.set(host, stream=stream)
        host[...] = 2
        stream.synchronize()
        assert (x.get() == 2).all()
        late = np.zeros(4)
        x.get(stream=stream, out=late, blocking=False)
        assert (late == 0).all()
        stream.synchronize()
        assert (late == 2).all()


def test_a_dropped_pinned_buffer_goes_to_the_next_at_once() -> None:
    """As CuPy's pool gives it; a copy that is still to come then reads what the next one wrote."""
    with cupy_device() as device:
        cupy = device.cupy
        x, stream = cupy.empty(4), cupy.cuda.get_current_stream()
        first = np.frombuffer(cupy.cuda.alloc_pinned_memory(32), "f8", 4)
        first[...] = 1
        x.set(first, stream=stream)
        place = first.ctypes.data
        del first
        second = np.frombuffer(cupy.cuda.alloc_pinned_memory(32), "f8", 4)
        assert second.ctypes.data == place
        second[...] = 5
        assert (x.get() == 5).all()


def test_memory_is_of_a_pool_and_a_stream() -> None:
    """A freed block goes to its own pool and stream; a limit is kept; what is dropped is the driver's."""
    with cupy_device(capacity=1 << 20) as device:
        cupy = device.cupy
        pool, mine = cupy.get_default_memory_pool(), cupy.cuda.MemoryPool()
        x = cupy.empty(64)
        place = x.__cuda_array_interface__["data"]
        del x
        with cupy.cuda.using_allocator(mine.malloc):
            y = cupy.empty(64)
        with cupy.cuda.Stream(non_blocking=True):
            z = cupy.empty(64)
        again = cupy.empty(64)
        assert again.__cuda_array_interface__["data"] == place
        assert place not in [one.__cuda_array_interface__["data"] for one in (y, z)]
        assert (pool.used_bytes(), pool.total_bytes(), mine.used_bytes()) == (1024, 1024, 512)
        theirs = y.__cuda_array_interface__["data"]
        del y, mine
        assert cupy.empty(64).__cuda_array_interface__["data"] == theirs
        pool.set_limit(size=4096)
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="limit set to: 4,096"):
            cupy.empty(1024)
        pool.set_limit(size=0)
        with pytest.raises(MemoryError):
            cupy.empty(1 << 20)
        assert cupy.empty(1024).size == 1024


def test_a_graph_replays_on_the_stream_that_it_is_launched_on() -> None:
    """Into the arrays of the capture, with the values that its inputs have then."""
    with cupy_device(2) as device:
        cupy = device.cupy
        stream, x = cupy.cuda.Stream(non_blocking=True), cupy.zeros(4)
        stream.wait_event(cupy.cuda.get_current_stream().record())
        with stream:
            warm = x * 2  # so that the pool has memory for the capture
            del warm
            stream.begin_capture(mode=cupy.cuda.runtime.streamCaptureModeThreadLocal)
            y = x * 2
            graph = stream.end_capture()
            for value in (1, 3):
                x.fill(value)
                graph.launch(stream)
                assert (y.get() == 2 * value).all()
        assert not [str(race) for race in device.races()]


@pytest.mark.parametrize(
    "forbidden",
    ["synchronize", "read", "product", "memory", "event", "default stream", "unjoined", "nothing begun"],
)
def test_what_cannot_be_captured_is_refused(forbidden: str) -> None:
    """With CuPy's errors, which the backend knows as refusals; and nothing captures afterwards."""
    from microbatch_backends.device.capture import capture_refused

    with cupy_device() as device:
        cupy = device.cupy
        stream, other, x = cupy.cuda.Stream(), cupy.cuda.Stream(), cupy.ones((2, 2))
        event, begun = (
            cupy.cuda.Event(disable_timing=True),
            forbidden not in ("default stream", "nothing begun"),
        )

        def unjoined() -> None:
            other.wait_event(stream.record())
            with other:
                x.fill(1)
            stream.end_capture()

        todo: dict[str, Any] = {
            "synchronize": stream.synchronize,
            "read": x.get,
            "product": lambda: x @ x,
            "memory": lambda: cupy.empty(1 << 10),
            "event": lambda: event.done,
            "default stream": cupy.cuda.Stream.null.begin_capture,
            "unjoined": unjoined,
            "nothing begun": stream.end_capture,
        }
        with stream:
            if begun:
                stream.begin_capture()
            with pytest.raises((RuntimeError, NotImplementedError)) as refused:
                todo[forbidden]()
            if stream.is_capturing():
                stream.end_capture()
            assert not begun or capture_refused(refused.value)
            assert not stream.is_capturing()


def test_every_thread_has_a_stream_and_an_allocator_of_its_own() -> None:
    """What one thread makes current is not so in another."""
    with cupy_device() as device:
        cupy = device.cupy
        seen: list[Any] = []
        pool = cupy.cuda.MemoryPool()
        with cupy.cuda.Stream(), cupy.cuda.using_allocator(pool.malloc):
            thread = threading.Thread(
                target=lambda: seen.append((cupy.cuda.get_current_stream(), cupy.cuda.get_allocator()))
            )
            thread.start()
            thread.join()
        assert seen == [(cupy.cuda.Stream.null, cupy.get_default_memory_pool().malloc)]


def test_nothing_is_left_of_a_block() -> None:
    """Nor of its pools, streams and graphs, so that thousands may follow each other."""
    with cupy_device() as device:
        cupy = device.cupy
        pool, pinned = cupy.cuda.MemoryPool(), cupy.cuda.alloc_pinned_memory(8)
        with cupy.cuda.using_allocator(pool.malloc), cupy.cuda.Stream():
            x = cupy.ones(4) + 1
        left = [weakref.ref(one) for one in (device.device, device.device.memory, pool, cupy)]
        del x, pool, pinned, cupy
    del device
    gc.collect()
    assert [one() for one in left] == [None] * 4


def of_cupy() -> dict[str, Any]:
    """Modules of CuPy that are loaded."""
    return {name: module for name, module in sys.modules.items() if name.startswith("cupy")}


@pytest.mark.parametrize("installed", [False, True])
def test_cupy_is_as_before_after_the_block(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed or not, and what was imported below it too; one block at a time."""
    for name in of_cupy():
        monkeypatch.delitem(sys.modules, name)
    for name in ("cupy", "cupy.cuda", "cupyx", "cupy_backends.cuda") if installed else ():
        monkeypatch.setitem(sys.modules, name, object())
    before = of_cupy()
    with cupy_device():
        assert "cupy.cuda" not in sys.modules
        for name in ("cupy.linalg", "cupy._core", "cupyx.scipy", "cupy_backends.cuda"):
            with pytest.raises(ImportError):
                import_module(name)
        with pytest.raises(ArgumentValueError, match="leave its block"), cupy_device():
            pass
        assert sys.modules["cupy"].__version__.endswith("(simulated)")
    assert of_cupy() == before
