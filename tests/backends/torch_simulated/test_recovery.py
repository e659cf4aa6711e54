"""The backend for torch on a device, on the simulated one: memory that runs out, readings, peaks, pools."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

import microbatch
from microbatch.errors import StepOutOfMemoryError
from microbatch.testing import torch_device
from microbatch_backends.torch_device.cuda import TorchCudaBackend

ROWS, WIDTH = 64, 256
ROW = 4 * WIDTH
"""Bytes of a row."""


def hungry(x: Any) -> Any:
    """Needs 16 times its input for a moment."""
    return x.repeat(1, 16).reshape(len(x), 16, WIDTH).sum(1)


@pytest.mark.parametrize("schedule", ["sequential", "pingpong", "streamed"])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_that_does_not_fit_is_run_in_parts(schedule: str, seed: int) -> None:
    """The result is whole, nothing is unordered, and nothing is kept of what failed."""
    with torch_device(seed, capacity=8 * ROWS * ROW) as device:
        x = torch.arange(ROWS * WIDTH, dtype=torch.float32, device="cuda").reshape(ROWS, WIDTH)
        before = torch.cuda.memory_allocated()
        with microbatch.wrap(
            hungry, backend="torch-cuda", schedule=schedule, policy="fixed", num_ubatches=2, verify="never"
        ) as step:
            y = step(x)
            assert step.last_report.oom_sizes
            torch.testing.assert_close(y.cpu(), x.cpu() * 16)
        torch.cuda.synchronize()
        del y, step
        assert torch.cuda.memory_allocated() == before
        assert not [str(race) for race in device.races()]


def test_one_row_that_does_not_fit_is_told_with_torchs_error() -> None:
    """With the sizes that were tried."""
    with torch_device(capacity=8 * ROW):
        x = torch.zeros(4, WIDTH, device="cuda")
        with (
            microbatch.wrap(
                hungry, backend="torch-cuda", schedule="sequential", policy="fixed", num_ubatches=2,
                verify="never",
            ) as step,
            pytest.raises(StepOutOfMemoryError) as told,
        ):  # fmt: skip
            step(x)
        assert isinstance(told.value.__cause__, torch.OutOfMemoryError)


def test_readings_follow_what_is_in_use() -> None:
    """Capacity, bytes in use, and what a limit of the process leaves."""
    with torch_device(capacity=1 << 20):
        x = torch.zeros(1 << 16, device="cuda")
        reading = TorchCudaBackend().memory()
        assert (reading.capacity, reading.in_use) == (1 << 20, 1 << 18)
        assert reading.usable == (1 << 20) - (1 << 18)
        torch.cuda.set_per_process_memory_fraction(0.5)
        assert TorchCudaBackend().memory().usable == (1 << 18)
        del x
        reading = TorchCudaBackend().memory()
        assert (reading.in_use, reading.usable) == (0, 1 << 19)  # what is cached counts as free


@pytest.mark.parametrize("what", ["sequential", "pingpong"])
def test_graphs_are_captured_and_replayed(what: str) -> None:
    """Each replay gives what the plain call gives, from buffers that stay."""
    with torch_device(3) as device, torch.inference_mode():
        weight = torch.randn(8, 8, device="cuda")
        with microbatch.wrap(
            lambda x: torch.relu(x @ weight), backend="torch-cuda", schedule=what, graphs=True,
            policy="fixed", num_ubatches=2, driver="greenlets" if what == "pingpong" else "threads",
            verify="never",
        ) as step:  # fmt: skip
            results = []
            for _ in range(4):
                x = torch.randn(6, 8, device="cuda")
                results.append((step(x), torch.relu(x @ weight)))
            assert step.last_report.graph_hits == 2, step.last_report.reason
        for result, expected in results:
            torch.testing.assert_close(result.cpu(), expected.cpu())
        assert not [str(race) for race in device.races()]
