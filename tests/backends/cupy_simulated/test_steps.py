"""Steps of wrapped functions of CuPy on the simulated device, under drawn orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.testing import cupy_device

SEEDS = st.integers(0, 1 << 20)


def read(array: Any) -> np.ndarray[Any, Any]:
    return np.asarray(array.get() if hasattr(array, "get") else array)


def layer(x: Any) -> Any:
    """Compute, communicate, compute."""
    h = x * 2
    dbo.dbo_yield_and_switch_from_compute_to_comm()
    h = h + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute()
    return h * 3


@given(
    seed=SEEDS,
    rows=st.integers(2, 40),
    parts=st.integers(1, 5),
    schedule=st.sampled_from(["sequential", "parallel", "pingpong", "streamed"]),
    from_host=st.booleans(),
)
def test_a_step_is_shown_to_be_cut_and_gives_the_plain_result(
    seed: int, rows: int, parts: int, schedule: str, from_host: bool
) -> None:
    """Also where the rows that it is tried on come from the host, through buffers that others get at once."""
    values = np.arange(rows * 3.0, dtype="f4").reshape(rows, 3)
    with cupy_device(seed) as device:
        given_to = values if from_host and schedule == "streamed" else device.cupy.asarray(values)
        with microbatch.wrap(
            layer, backend="cupy", schedule=schedule, policy="fixed", num_ubatches=parts
        ) as step:
            for _ in range(2):
                np.testing.assert_array_equal(read(step(given_to)), (values * 2 + 1) * 3)
        assert not [str(race) for race in device.races()]


@given(seed=SEEDS, greenlets=st.booleans())
def test_graphs_are_captured_and_replayed(seed: int, greenlets: bool) -> None:
    """Of a call, and of a whole step on greenlets; each replay is right, and so are the results kept."""
    if greenlets:
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    options = {"schedule": "pingpong", "driver": "greenlets"} if greenlets else {"schedule": "sequential"}
    with cupy_device(seed) as device:
        with microbatch.wrap(
            layer, backend="cupy", policy="fixed", num_ubatches=2, graphs=True, **options
        ) as step:
            kept = []
            for turn in range(4):
                values = np.full((6, 2), turn, "f4")
                kept.append((step(device.cupy.asarray(values)), (values * 2 + 1) * 3))
            assert step.last_report.graph_hits == 2, step.last_report.reason
        for result, expected in kept:
            np.testing.assert_array_equal(result.get(), expected)
        assert not [str(race) for race in device.races()]


@pytest.mark.parametrize("schedule", ["sequential", "pingpong", "streamed"])
def test_a_step_that_does_not_fit_is_run_in_parts(schedule: str) -> None:
    """The result is whole, and nothing is kept of what failed."""
    with cupy_device(3, capacity=1 << 17) as device:
        x = device.cupy.ones((64, 64), "f4")
        with microbatch.wrap(
            lambda x: np.repeat(x, 16, 1).sum(1), backend="cupy", schedule=schedule, policy="fixed",
            num_ubatches=2, verify="never",
        ) as step:  # fmt: skip
            y = step(x)
            assert step.last_report.oom_sizes
            assert (y.get() == 64 * 16).all()
        del y, step
        assert device.cupy.get_default_memory_pool().used_bytes() == x.nbytes
