"""Outputs are equal up to rounding, and the first row that is not is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.arrays.comparing import RELATIVE, RELATIVE_ELSE, equal_values
from microbatch.arrays.comparison import Comparison
from microbatch.arrays.trees import children_of, flatten, leaf_paths, leaves_of, map_leaves

TREES = st.recursive(
    st.none() | st.integers() | st.just(np.arange(3)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(TREES)
def test_as_many_leaves_are_put_back_as_were_taken_out(tree: Any) -> None:
    leaves, spec = flatten(tree)
    assert len(leaves) == len(leaf_paths(spec)) == len(leaves_of(tree))
    assert flatten(spec.unflatten(leaves))[1] == spec
    assert flatten(map_leaves(lambda leaf: 0, tree))[1] == spec
    children = children_of(tree)
    if children is not None:
        assert sum(len(leaves_of(child)) for _, child in children) == len(leaves)


@given(TREES)
def test_a_tree_equals_itself(tree: Any) -> None:
    leaves, spec = flatten(tree)
    assert Comparison(spec, leaves).differences(tree, "again") == []


@given(
    dtype=st.sampled_from(["float16", "float32", "float64", "complex64"]),
    row=st.integers(0, 7),
    times=st.sampled_from([0.5, 4.0]),
)
def test_the_tolerance_is_that_of_the_dtype(dtype: str, row: int, times: float) -> None:
    """Value plus floor allow twice the relative tolerance where all values are alike."""
    expected = np.full(8, 2.0, dtype)
    found = expected.astype("c16" if dtype == "complex64" else "f8")
    found[row] *= 1 + times * 2 * RELATIVE.get(dtype, RELATIVE_ELSE)
    found = found.astype(dtype)
    leaves, spec = flatten(expected)
    differences = Comparison(spec, leaves).differences(found, "cut")
    assert [difference.row for difference in differences] == ([row] if times > 1 else [])


def test_a_sum_that_cancels_is_not_called_different() -> None:
    expected = np.array([1e-9, 1000.0], "f4")
    leaves, spec = flatten(expected)
    found = expected + np.array([1e-5, 0], "f4")
    comparison = Comparison(spec, leaves)
    assert comparison.differences(found, "cut") == []
    assert comparison.absolute == pytest.approx(1e-5, rel=1e-3)
    assert comparison.relative == pytest.approx(1e-8, rel=1e-3)
    assert Comparison(spec, leaves, atol=0.0).differences(found, "cut") != []


def test_what_is_skipped_is_not_compared() -> None:
    leaves, spec = flatten((1, 2))
    comparison = Comparison(spec, leaves)
    assert comparison.differences((1, 3), "cut", {1}) == []
    (found,) = comparison.differences((1, 3), "cut")
    assert str(found) == "output[1]: 2 from the whole batch, 3 from the parts (cut)"
    (other,) = comparison.differences([1, 2], "cut")
    assert other.parts == "has another structure"


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (float("nan"), float("nan"), True),
        ([1, [float("nan")]], [1, [float("nan")]], True),
        ([np.arange(2)], [np.arange(2)], True),
        ([np.arange(2)], [np.arange(3)], False),
        (np.arange(2), np.arange(2.0), False),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (1, True, False),
        (1, np.int64(1), False),
        (None, 0, False),
        ([1], [1, 2], False),
    ],
)
def test_equal_values(first: Any, second: Any, equal: bool) -> None:
    assert equal_values(first, second) is equal
    assert equal_values(second, first) is equal


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_of_a_table_the_row_and_the_column_are_named(library: str) -> None:
    tables = pytest.importorskip(library, reason=f"{library} is not installed")

    def shares(table: Any) -> Any:
        price = np.asarray(table["price"])
        return tables.DataFrame({"name": table["name"], "share": price / price.sum()})

    report = microbatch.check(shares, tables.DataFrame({"price": [1.0, 2.0, 5.0], "name": ["a", "b", "c"]}))
    first = report.differences[0]
    assert (first.row, first.whole, first.parts) == (0, "{'share': 0.125}", "{'share': 1.0}")
