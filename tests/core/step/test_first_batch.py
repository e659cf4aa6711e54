"""The first batch of a wrapper, where it has few rows: whole and untried, unless somebody asked for parts."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.step.prepare import FEW_ROWS

WIDTH = 20_000
"""Numbers of a row: two rows are larger than what `auto` runs whole without trying."""


class Counted:
    """A function of rows that notes how many it was given."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, x: Any) -> Any:
        self.rows.append(len(x))
        return x + 1


def batch(rows: int) -> Any:
    return np.arange(rows * WIDTH, dtype=np.float64).reshape(rows, WIDTH)


@given(rows=st.integers(4, FEW_ROWS))
def test_a_batch_that_comes_once_is_called_once(rows: int) -> None:
    function = Counted()
    with microbatch.wrap(function) as step:
        assert np.array_equal(step(batch(rows)), batch(rows) + 1)
        assert function.rows == [rows]
        step(batch(rows))
        assert len(function.rows) > 2  # the next one is tried


def test_a_larger_first_batch_is_tried_and_cut() -> None:
    function = Counted()
    with microbatch.wrap(function) as step:
        assert np.array_equal(step(batch(FEW_ROWS + 1)), batch(FEW_ROWS + 1) + 1)
    assert FEW_ROWS + 1 not in function.rows


ASKED: list[dict[str, Any]] = [
    {"num_ubatches": 3},
    {"max_tokens_per_ubatch": 10},
    {"policy": "auto", "max_tokens_per_ubatch": 10},
    {"policy": "tokens", "policy_options": {"max_tokens": 10}},
    {"memory_limit": "100MB"},
]


@pytest.mark.parametrize("options", ASKED, ids=str)
def test_whoever_asks_for_parts_has_them_at_once(options: dict[str, Any]) -> None:
    with microbatch.wrap(Counted(), **options) as step:
        assert np.array_equal(step(batch(30)), batch(30) + 1)
        report = step.last_report
    assert report is not None
    assert max(report.sizes) <= 10


def test_every_step_is_tried_where_that_is_asked_for() -> None:
    function = Counted()
    with microbatch.wrap(function, verify="always") as step:
        step(batch(30))
    assert len(function.rows) > 1


def test_a_batch_that_may_not_fit_is_not_run_whole() -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    width = memory // (FEW_ROWS * 4 * 512) + 1  # 512 times its bytes are more than there is
    function = Counted()
    with microbatch.wrap(lambda x: function(x)[:, :1].copy()) as step:
        step(np.broadcast_to(np.float32(1), (FEW_ROWS, width)))
    assert FEW_ROWS not in function.rows
