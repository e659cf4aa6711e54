"""Generators are where they were after an experiment, and a draw from any of them is noticed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from microbatch.proof.random_numbers import Generators

OWN = {
    "Generator": (np.random.default_rng(1), lambda g: g.random()),
    "RandomState": (np.random.RandomState(1), lambda g: g.random_sample()),
    "Random": (random.Random(1), lambda g: g.random()),
    "numpy's global": (None, lambda g: np.random.random()),
    "random's global": (None, lambda g: random.random()),
}


@pytest.mark.parametrize("name", OWN)
def test_a_draw_is_noticed_and_taken_back(name: str) -> None:
    generator, draw = OWN[name]
    generators = Generators([generator])
    first = draw(generator)
    assert generators.put_back()
    assert not generators.put_back()
    assert draw(generator) == first


def test_nothing_drawn_is_nothing_moved() -> None:
    found: list[Any] = [np.random.default_rng(0), "text", 3, None, np.ones(3)]
    assert not Generators(found).put_back()
