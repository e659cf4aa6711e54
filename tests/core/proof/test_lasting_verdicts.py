"""One odd batch decides nothing for later ones: a row that makes the function raise, a batch without rows."""

from __future__ import annotations

import warnings
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch import wrap

GOOD = np.arange(39.0).reshape(13, 3) + 100
WAYS: list[dict[str, Any]] = [{}, {"policy": "fixed"}]


def refuses_nine(x: Any) -> Any:
    if (x[:, 0] == 9).any():
        raise ValueError("row 9 is bad")
    return x + 1


@pytest.mark.parametrize("way", WAYS, ids=["auto", "named"])
@pytest.mark.parametrize("given_place", [False, True], ids=["made", "out"])
@given(bad=st.sets(st.integers(0, 12), min_size=1))
def test_a_bad_row_raises_its_own_error_and_the_next_batch_is_cut(
    way: dict[str, Any], given_place: bool, bad: set[int]
) -> None:
    """Whether all, some or none of the rows that the function was tried on are bad."""
    rows = GOOD.copy()
    rows[sorted(bad), 0] = 9
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with wrap(refuses_nine, num_ubatches=6, **way) as wrapper:
            with pytest.raises(ValueError, match="row 9 is bad") as caught:
                wrapper(rows, out=np.empty_like(rows) if given_place else None)
            assert type(caught.value) is ValueError
            assert np.array_equal(wrapper(GOOD), GOOD + 1)
            assert len(wrapper.last_report.sizes) == 6


def test_a_function_that_minds_the_number_of_rows_is_still_found() -> None:
    def fives(x: Any) -> Any:
        if len(x) == 5:
            raise ValueError("not 5")
        return x + 1

    with wrap(fives, num_ubatches=2) as wrapper:
        with pytest.warns(UserWarning, match="not 5"):
            result = wrapper(GOOD)
        assert np.array_equal(result, GOOD + 1)
        assert len(wrapper.last_report.sizes) == 1


@pytest.mark.parametrize("way", WAYS, ids=["auto", "named"])
@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_one_row_or_none_shows_nothing(rows: int, way: dict[str, Any]) -> None:
    """Beside weights, whose rows are not the batch's."""
    weights = np.ones((3, 4))
    with wrap(lambda x, weights: x @ weights, num_ubatches=4, **way) as wrapper:
        assert np.array_equal(wrapper(GOOD[:rows], weights), GOOD[:rows] @ weights)
        assert np.array_equal(wrapper(GOOD, weights), GOOD @ weights)
        assert len(wrapper.last_report.sizes) == 4


@pytest.mark.parametrize("schedule", ["auto", "sequential", "parallel", "pingpong", "streamed"])
@pytest.mark.parametrize("kind", [list, tuple, deque])
def test_an_empty_list_is_an_empty_batch(kind: Any, schedule: str) -> None:
    with wrap(lambda texts: [text.upper() for text in texts], num_ubatches=2, schedule=schedule) as wrapper:
        assert wrapper(kind()) == []
        assert wrapper(kind(["a", "b", "c"])) == ["A", "B", "C"]
        assert wrapper(texts=kind()) == []


@pytest.mark.filterwarnings("ignore:the function is not cut")
@pytest.mark.parametrize("schedule", ["auto", "sequential", "parallel", "pingpong", "streamed"])
def test_a_sum_runs_whole_under_each_schedule(schedule: str) -> None:
    """Where no parts were asked for, its result has no row per row, and that is no error."""
    with wrap(lambda x: x.sum(0), schedule=schedule) as wrapper:
        assert np.array_equal(wrapper(GOOD), GOOD.sum(0))
