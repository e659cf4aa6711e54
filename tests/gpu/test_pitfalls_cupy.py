"""The pitfalls of CuPy on a device: order, reuse of memory, staging, captures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo
from microbatch_backends.cupy_device.backend import CupyBackend
from microbatch_backends.cupy_device.transfer import is_pinned


def wrap(function: Any, **options: Any) -> Any:
    options = {"backend": "cupy", "policy": "fixed", "num_ubatches": 4, **options}
    return microbatch.wrap(function, **options)


@pytest.mark.pitfall(9, 10)
@pytest.mark.parametrize("schedule", ["sequential", "pingpong", "streamed"])
def test_pitfalls_9_and_10_order_with_the_caller_and_dropped_memory(cupy: Any, schedule: str) -> None:
    with wrap(lambda x: cupy.sin(x) * 2, schedule=schedule) as wrapper, cupy.cuda.Stream(non_blocking=True):
        for turn in range(20):
            x = cupy.full((1 << 20,), float(turn))
            result = wrapper(x)
            del x
            poison = cupy.full((1 << 20,), cupy.nan)
            cupy.testing.assert_allclose(result, np.full(1 << 20, np.sin(float(turn)) * 2))
            del poison


@pytest.mark.pitfall(11, 12)
def test_pitfalls_11_and_12_host_arrays_go_through_staging(cupy: Any) -> None:
    x = np.arange(1 << 20, dtype="f4").reshape(-1, 16)
    out = np.full_like(x, np.nan)
    with wrap(lambda x: x + 1, schedule="streamed", num_ubatches=16) as wrapper:
        wrapper(x, out=out)
    np.testing.assert_array_equal(out, x + 1)


@pytest.mark.pitfall(13)
def test_pitfall_13_staging_is_pinned(cupy: Any) -> None:
    backend = CupyBackend()
    assert is_pinned(backend._namespace, backend.staging((4, 4), np.zeros(1, "f4")))
    assert not is_pinned(backend._namespace, np.zeros(4, "f4"))


@pytest.mark.pitfall(28)
def test_pitfall_28_a_product_is_refused_and_runs_as_it_is(cupy: Any) -> None:
    a = cupy.random.random((64, 64)).astype("f4")
    with wrap(lambda x: x @ a, graphs=True, num_ubatches=1, schedule="sequential") as wrapper:
        for _ in range(3):
            x = cupy.random.random((8, 64)).astype("f4")
            cupy.testing.assert_allclose(wrapper(x), x @ a, rtol=1e-5)
        assert wrapper.last_report.graph_hits == 0
        assert "capturing failed" in wrapper.last_report.reason


@pytest.mark.pitfall(18, 28)
def test_pitfalls_18_and_28_memory_of_a_capture_is_not_handed_to_others(cupy: Any) -> None:
    with wrap(lambda x: cupy.sin(x * 2 + 1), graphs=True, num_ubatches=1, schedule="sequential") as wrapper:
        kept = []
        for value in range(5):
            x = cupy.full((1 << 16,), float(value))
            kept.append((value, wrapper(x)))
            poison = [cupy.full((1 << 16,), cupy.nan) for _ in range(8)]
            del poison
        assert wrapper.last_report.graph_hits == 1, wrapper.last_report.reason
        for value, result in kept:
            cupy.testing.assert_allclose(result, np.full(1 << 16, np.sin(value * 2.0 + 1)))


@pytest.mark.pitfall(10, 17)
@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("driver", ["threads", "greenlets"])
def test_pitfalls_10_and_17_ubatches_that_take_turns(cupy: Any, driver: str, graphs: bool) -> None:
    if driver == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")

    def layer(x: Any) -> Any:
        h = cupy.sin(x)
        dbo.dbo_yield_and_switch_from_compute_to_comm()
        h = h + 1
        dbo.dbo_yield_and_switch_from_comm_to_compute()
        return h * 3 + h * 0

    with wrap(layer, schedule="pingpong", num_ubatches=3, driver=driver, graphs=graphs) as wrapper:
        for turn in range(6):
            x = cupy.full((3 << 16,), float(turn))
            cupy.testing.assert_allclose(wrapper(x), (cupy.sin(x) + 1) * 3)
        replays = graphs and driver == "greenlets"
        assert (wrapper.last_report.graph_hits == 3) == replays, wrapper.last_report.reason


def test_running_out_of_the_pools_limit_is_survived(cupy: Any) -> None:
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.get_limit()
    pool.set_limit(size=pool.used_bytes() + (32 << 20))
    try:
        with wrap(lambda x: cupy.sin(x.astype("f8")[:, None] * cupy.ones((1, 64))).sum(1)) as wrapper:
            result = wrapper(cupy.zeros(1 << 17, "f4"))
            assert result.shape == (1 << 17,)
    finally:
        pool.set_limit(size=before)
