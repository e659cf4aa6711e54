"""The CUDA device that the tests here run on: a real one where there is one, else a simulated one."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.gpu.needs_a_device import reason


@pytest.fixture
def cuda(request: pytest.FixtureRequest) -> Iterator[None]:
    """A device; skips what the simulated one cannot show."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if torch.cuda.is_available():
        yield
        return
    why = reason(request.node.nodeid)
    if why is not None:
        pytest.skip(f"needs a real CUDA device: {why}")
    from microbatch.testing import torch_device

    with torch_device(1) as device:
        yield
        races = [str(race) for race in device.races()]
    assert not races


@pytest.fixture
def cupy(request: pytest.FixtureRequest) -> Iterator[Any]:
    """CuPy with a device; tests may import it too. Skips what the simulated one cannot show."""
    if find_spec("cupy"):
        import cupy

        if cupy.cuda.is_available():
            yield cupy
            return
    why = reason(request.node.nodeid)
    if why is not None:
        pytest.skip(f"needs a real CUDA device: {why}")
    from microbatch.testing import cupy_device

    with cupy_device(1) as device:
        yield device.cupy
        races = [str(race) for race in device.races()]
    assert not races
