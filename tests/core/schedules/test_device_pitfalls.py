"""What goes wrong between streams when one wait or one reference is missing, one pitfall a test.

Each runs on the adversarial device under every worst order, and once on the recording device, where nothing
may be unordered. Which line each one guards is in `tests/teeth/guards.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.testing import AdversarialBackend, RecordingBackend
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.simulated.backend import SimulatedBackend

ROWS = np.arange(24.0).reshape(12, 2)
ON_STREAMS_OF_ITS_OWN = ("pingpong", "streamed")


def everywhere(program: Callable[[SimulatedBackend], None]) -> None:
    """Run `program` on the adversarial device in each of the worst orders, and on the recording device."""
    for order in WORST_ORDERS:
        program(AdversarialBackend(order))
    recording = RecordingBackend()
    program(recording)
    recording.assert_ordered()


def step(device: SimulatedBackend, schedule: str, x: Any, *, out: Any = None, ubatches: int = 6) -> Any:
    """`x * 2 + 1` as one step of several ubatches."""
    with microbatch.wrap(
        lambda x: x * 2 + 1, backend=device.name, plugins=GivenBackends(device), schedule=schedule,
        num_ubatches=ubatches, policy="fixed",
    ) as wrapped:  # fmt: skip
        return wrapped(x, out=out)


def ready(device: SimulatedBackend, values: np.ndarray) -> Any:
    """An array on the device whose values are there."""
    array = device.array(values)
    device.device.finish_all()
    return array


@pytest.mark.pitfall(9)
@pytest.mark.parametrize("schedule", ON_STREAMS_OF_ITS_OWN)
def test_the_step_begins_after_the_stream_that_makes_its_inputs(schedule: str) -> None:
    def program(device: SimulatedBackend) -> None:
        result = step(device, schedule, device.array(ROWS - 1) + 1)
        device.device.finish_all()  # what was computed too early stays wrong
        np.testing.assert_array_equal(np.asarray(result), ROWS * 2 + 1)

    everywhere(program)


@pytest.mark.pitfall(9)
@pytest.mark.parametrize("schedule", ON_STREAMS_OF_ITS_OWN)
def test_the_caller_goes_on_after_the_step(schedule: str) -> None:
    def program(device: SimulatedBackend) -> None:
        result = step(device, schedule, ready(device, ROWS))
        np.testing.assert_array_equal(np.asarray(result + 1), ROWS * 2 + 2)

    everywhere(program)


@pytest.mark.pitfall(10)
@pytest.mark.parametrize("schedule", ON_STREAMS_OF_ITS_OWN)
def test_memory_of_an_input_dropped_after_the_call_is_not_used_again_too_early(schedule: str) -> None:
    def program(device: SimulatedBackend) -> None:
        x = ready(device, ROWS)
        result = step(device, schedule, x)
        del x
        poison = device.array(np.full_like(ROWS, np.nan))
        device.device.finish_all()
        np.testing.assert_array_equal(np.asarray(result), ROWS * 2 + 1)
        del poison

    everywhere(program)


@pytest.mark.pitfall(10)
def test_memory_of_a_part_is_not_used_again_while_it_is_computed_with() -> None:
    """More parts than slots: copying in the next one would find the block of one whose work is still
    queued."""

    def program(device: SimulatedBackend) -> None:
        np.testing.assert_array_equal(step(device, "streamed", ROWS.copy()), ROWS * 2 + 1)

    everywhere(program)


@pytest.mark.pitfall(11)
def test_a_result_on_the_host_is_read_after_its_copy_only() -> None:
    def program(device: SimulatedBackend) -> None:
        out = np.full_like(ROWS, -7)
        assert step(device, "streamed", ROWS.copy(), out=out, ubatches=2) is out
        np.testing.assert_array_equal(out, ROWS * 2 + 1)

    everywhere(program)


@pytest.mark.pitfall(12)
def test_a_staging_buffer_is_filled_again_after_its_copy_only() -> None:
    """Every part has other values, so one that was overtaken by the next is seen."""

    def program(device: SimulatedBackend) -> None:
        out = np.zeros((12, 1))
        step(device, "streamed", np.arange(12.0)[:, None], out=out, ubatches=12)
        np.testing.assert_array_equal(out[:, 0], np.arange(12.0) * 2 + 1)

    everywhere(program)
