"""Functions of tensors that must not run side by side, or that draw, as in `test_racing.py`."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from tests.core.proof.racers import RACERS as OTHERS
from tests.core.proof.racers import Racer
from tests.core.proof.racers_torch import RACERS
from tests.core.proof.racing import floats, unequal

pytestmark = pytest.mark.torch


def tensors(number: int) -> Any:
    """A batch in float32."""
    return torch.from_numpy(floats(number)).float()


@pytest.mark.parametrize("racer", RACERS, ids=lambda racer: racer.name)
def test_answers_are_the_plain_calls(racer: Racer) -> None:
    assert unequal(racer, tensors) == []


def test_there_are_thirty() -> None:
    assert len(RACERS) + len(OTHERS) >= 30
