"""How sizes may be read: the same readings at every number of rows, the likeliest first."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from microbatch.arrays.trees import flatten
from microbatch.binding.readings import MOST, Sized, readings_of


def sized(args: tuple[Any, ...]) -> tuple[list[Sized], Any]:
    leaves, spec = flatten((args, {}))
    found = []
    for index, leaf in enumerate(leaves):
        square = leaf.ndim > 1 and leaf.shape[0] == leaf.shape[1]
        found.append(Sized(index, leaf.shape[0], is_array=True, square=square, flat=leaf.ndim == 1))
    return found, spec


def cut_in_each(*args: Any) -> list[list[int]]:
    return [sorted(reading.cut) for reading in readings_of(*sized(args))]


def test_arrays_with_as_many_rows_as_the_first_are_cut_and_others_go_whole() -> None:
    assert cut_in_each(np.ones((8, 2)), np.ones(8), np.ones((3, 2)))[0] == [0, 1]


def test_weights_before_the_batch() -> None:
    params, x = {"b": np.ones(4), "w": np.ones((3, 4))}, np.ones((50, 3))
    assert cut_in_each(params, x)[:2] == [[0], [2]]


def test_a_square_partner_is_tried_whole_before_other_partners() -> None:
    assert cut_in_each(np.ones((6, 6)), np.ones((6, 6)), np.ones((6, 2)))[:3] == [[0, 1, 2], [0, 2], [1]]


def test_nothing_with_a_size_has_no_reading() -> None:
    assert readings_of([], flatten(((), {}))[1]) == []


@given(
    sizes=st.lists(st.integers(2, 5), min_size=1, max_size=5),
    factor=st.integers(2, 9),
)
def test_readings_follow_from_which_sizes_are_equal(sizes: list[int], factor: int) -> None:
    """Calls that differ only in numbers of rows are read alike; no more than a few readings are tried."""
    assume(factor > 1)
    small = cut_in_each(*[np.ones((size, 7)) for size in sizes])
    large = cut_in_each(*[np.ones((size * factor * 7 + 1, 7)) for size in sizes])
    assert small == large
    assert 1 <= len(small) <= MOST
    assert all(small) and len({tuple(reading) for reading in small}) == len(small)
