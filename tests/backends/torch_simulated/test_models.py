"""Models on the simulated device: each schedule gives what the host gives, in any order."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

import microbatch
from microbatch.testing import torch_device
from tests.support.stream_models import MODELS, on_host

ROWS = 6
SCHEDULES = ("sequential", "parallel", "pingpong", "streamed")


def needs(name: str) -> None:
    """Skip where the model's library is not installed."""
    if name in ("bert", "gpt2"):
        pytest.importorskip("transformers", reason="transformers is not installed")


def wrapped(model: Any, schedule: str, **options: Any) -> Any:
    """The model in three ubatches."""
    options = {"num_ubatches": 3, "policy": "fixed", "backend": "torch-cuda", **options}
    return microbatch.wrap(model, schedule=schedule, **options)


@pytest.mark.counted
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_what_it_gives_on_the_host(name: str, schedule: str) -> None:
    """Under drawn orders, twice, and nothing is unordered."""
    needs(name)
    model, batch, expected = on_host(name, ROWS)
    for seed in range(2):
        with torch_device(seed) as device, torch.inference_mode():
            there = copy.deepcopy(model).cuda()
            given = {key: value.cuda() for key, value in batch.items()}
            with wrapped(there, schedule) as step:
                for _ in range(2):
                    torch.testing.assert_close(step(**given).cpu(), expected)
                assert len(step.last_report.sizes) == 3
            assert not [str(race) for race in device.races()]
