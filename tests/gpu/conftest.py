"""The CUDA device that the tests here run on: a real one where there is one, else the simulated one."""

from __future__ import annotations

from collections.abc import Iterator

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
