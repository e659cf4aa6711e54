"""Functions that must not run side by side, or that draw: under the default policy they answer as when called
plainly, bit for bit, twenty times over."""

from __future__ import annotations

import pytest

from tests.core.proof.racers import RACERS, Racer
from tests.core.proof.racing import floats, unequal


@pytest.mark.parametrize("racer", RACERS, ids=lambda racer: racer.name)
def test_answers_are_the_plain_calls(racer: Racer) -> None:
    assert unequal(racer, floats) == []
