"""Calls that leave no trace in torch: random numbers go on where they were, gradients are not recorded."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.torch_device.backend import TorchCpuBackend
from microbatch_backends.torch_device.device_module import DeviceModule
from microbatch_backends.torch_device.trials import Trial

pytestmark = pytest.mark.torch


class FakeDevice:
    """A device module with random numbers of its own."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(3)

    def get_rng_state(self) -> object:
        return self.generator.get_state()

    def set_rng_state(self, state: torch.Tensor) -> None:
        self.generator.set_state(state)


@pytest.mark.parametrize("backend", [CpuBackend(), TorchCpuBackend()], ids=["cpu", "torch-cpu"])
def test_a_draw_is_noticed_and_taken_back(backend: CpuBackend | TorchCpuBackend) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with backend.trial() as drawn:
        assert not drawn()
        torch.rand(2)
        assert drawn()
    np.testing.assert_array_equal(torch.rand(3), expected)


def test_random_numbers_of_the_device_too() -> None:
    device = FakeDevice()
    with Trial(DeviceModule("cuda", device)) as drawn:
        assert not drawn()
        first = torch.rand(1, generator=device.generator)
        assert drawn()
    assert torch.equal(torch.rand(1, generator=device.generator), first)


def test_gradients_are_not_recorded_inside() -> None:
    weight = torch.ones(2, requires_grad=True)
    with TorchCpuBackend().trial():
        assert not (weight * 2).requires_grad
    assert (weight * 2).requires_grad
