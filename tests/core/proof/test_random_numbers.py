"""Generators are where they were after an experiment, and a draw from any of them is noticed."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import UnprovenError
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


def draw(asked: SimpleQueue[bool], drawn: SimpleQueue[int], draws: int) -> None:
    """As often as asked, count; the first `draws` times also draw from the process's generators."""
    number = 0
    while asked.get(timeout=60):
        if number < draws:
            random.random()
            np.random.random()
        number += 1
        drawn.put(number)


@pytest.mark.parametrize("draws", [1, 3, 8])
def test_what_another_thread_draws_does_not_refute(draws: int) -> None:
    """The calls are made again: a Dask worker draws the names of its messages, a server its timeouts."""
    x = np.arange(128.0).reshape(64, 2)
    asked, drawn = SimpleQueue[bool](), SimpleQueue[int]()

    def doubled(rows: Any) -> Any:
        asked.put(True)
        drawn.get(timeout=60)
        return rows * 2

    with ThreadPoolExecutor(1) as thread, microbatch.wrap(doubled, policy="fixed", num_ubatches=4) as wrapped:
        thread.submit(draw, asked, drawn, draws)
        try:
            np.testing.assert_array_equal(wrapped(x), x * 2)
        finally:
            asked.put(False)
        assert wrapped.last_report is not None and len(wrapped.last_report.sizes) == 4


def test_what_draws_at_each_try_is_refuted() -> None:
    """Beside another thread, too: also a function that draws at its first call only, as each try is one."""
    table: dict[str, Any] = {}

    def first_only(rows: Any) -> Any:
        if "noise" not in table:
            table["noise"] = random.random()
        return rows * 2

    def always(rows: Any) -> Any:
        return rows + np.random.normal(size=rows.shape)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(int).result(timeout=60)
        for function in (first_only, always):
            wrapped = microbatch.wrap(function, policy="fixed", num_ubatches=4)
            with wrapped, pytest.raises(UnprovenError, match="draws random numbers"):
                wrapped(np.ones((64, 2)))
