"""A layout's pattern that names nothing is told once, with what was meant.

One for a field that may be missing is not told.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.binding.rules import Layout, collect, per_ubatch, query_start_loc, replicate, tokens
from tests.support.binding import bind

NAMES = ("ids", "weights")
X = np.zeros(4)


def told(backend: Any, layout: Layout, *args: Any, **kwargs: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bind(layout, args, kwargs, backend=backend, names=NAMES)
    return [str(warning.message) for warning in caught]


@pytest.mark.pitfall(21)
def test_a_misspelt_rule_for_a_weight_with_as_many_rows_as_the_batch(backend: Any) -> None:
    layout = Layout(inputs={"ids": tokens(), "weight": replicate()})
    (text,) = told(backend, layout, X, X)
    assert text.startswith(
        "the layout's pattern 'weight' names no argument of this call; did you mean 'weights'?"
    )
    assert told(backend, layout, X, X) == []
    assert told(backend, layout, X, [X]) == [], "once a layout, whatever the structure"


def test_without_a_near_match_the_leaves_without_a_rule_are_listed(backend: Any) -> None:
    (text,) = told(backend, Layout(inputs={"zzz": replicate()}), X, weights={"a": X, "b": X})
    assert "without a rule are 'a', 'b', 'ids'" in text


@pytest.mark.parametrize(
    "pattern", ["ids", "0", "weights", "1", "weights.a", "1.a", "a", "*.a", "*missing", "mis?ing"]
)
def test_a_pattern_that_names_a_leaf_or_what_holds_it_or_is_wild_is_no_mistake(
    backend: Any, pattern: str
) -> None:
    assert told(backend, Layout(inputs={pattern: tokens()}), X, {"a": X}) == []


@pytest.mark.parametrize("pattern", ["weights", "1"])
@pytest.mark.parametrize("weights", [(), ({},), (None,)], ids=["left out", "empty", "none"])
def test_a_parameter_may_be_left_out(backend: Any, pattern: str, weights: tuple[Any, ...]) -> None:
    assert told(backend, Layout(inputs={pattern: tokens()}), X, *weights) == []


def test_a_position_that_was_given_by_name_is_told(backend: Any) -> None:
    (text,) = told(backend, Layout(inputs={"1": replicate()}), X, weights=X)
    assert "'1' names no argument" in text


def test_a_field_that_was_there_before_may_be_missing_later(backend: Any) -> None:
    layout = Layout(inputs={"mask": tokens()})
    assert told(backend, layout, {"x": X, "mask": X}) == []
    assert told(backend, layout, {"x": X}) == []


@pytest.mark.parametrize("rule", [tokens(), per_ubatch(lambda value, part, number: value)], ids=str)
def test_a_list_or_tree_that_is_taken_whole_is_named(backend: Any, rule: Any) -> None:
    assert told(backend, Layout(inputs={"weights": rule}), X, [1, 2, 3, 4]) == []
    assert told(backend, Layout(inputs={"starts": query_start_loc()}), X, starts=np.array([0, 4])) == []


@pytest.mark.parametrize(
    ("pattern", "text"), [("hiden", "names no output of this call; did you mean 'hidden'?"), ("loss", "")]
)
def test_of_outputs_only_what_looks_misspelt_is_told(pattern: str, text: str) -> None:
    layout = Layout(outputs={pattern: collect()})
    with microbatch.wrap(
        lambda x: {"hidden": x}, layout=layout, num_ubatches=2, schedule="sequential"
    ) as wrapped:
        if text:
            with pytest.warns(UserWarning) as caught:
                wrapped(X)
            assert text in str(caught[0].message)
        wrapped(X)  # a warning would be an error


def test_the_warning_points_at_the_callers_line() -> None:
    def call(make: Callable[..., Any]) -> None:
        with (
            make(lambda ids: ids, layout=Layout(inputs={"idz": tokens()})) as wrapped,
            pytest.warns(UserWarning) as caught,
        ):
            wrapped(X)
        assert [warning.filename for warning in caught] == [__file__]

    call(microbatch.wrap)
