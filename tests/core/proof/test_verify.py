"""When a function is tried, what is kept of it, and what a caller is told where it must not be cut."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import Layout, MicrobatchError, UBatchSlice, replicate, tokens

X = np.random.default_rng(0).normal(size=(64, 6))
LARGE = np.random.default_rng(0).normal(size=(4096, 32))
FIXED: dict[str, Any] = {"policy": "fixed", "num_ubatches": 4, "enable_overlap": False}
DECLARED = Layout(inputs={"0": tokens()}, outputs={"output": tokens()})


def counting(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[int]]:
    """`function`, and the rows of each of its calls so far."""
    seen: list[int] = []

    def counted(a: Any, *more: Any) -> Any:
        seen.append(len(a))
        return function(a, *more)

    return counted, seen


def calls_of(times: int = 2, x: Any = X, **options: Any) -> list[int]:
    """How often a row-wise function is called by each of some steps."""
    function, seen = counting(np.tanh)
    numbers = []
    with microbatch.wrap(function, **FIXED, **options) as wrapped:
        for _ in range(times):
            before = len(seen)
            np.testing.assert_array_equal(wrapped(x), np.tanh(x))
            numbers.append(len(seen) - before)
    return numbers


def test_a_function_is_tried_by_three_calls_once() -> None:
    assert calls_of(3) == [4 + 3, 4, 4]
    assert calls_of(3, verify="first") == [4 + 3, 4, 4]


def test_a_function_is_tried_at_every_step_or_never() -> None:
    assert calls_of(3, verify="always") == [4 + 3, 4 + 3, 4 + 3]
    assert calls_of(3, verify="never", layout=DECLARED) == [4, 4, 4]


def test_what_is_declared_is_not_tried() -> None:
    assert calls_of(2, layout=DECLARED) == [4, 4]


def test_another_structure_is_tried_again_and_another_number_of_rows_is_not() -> None:
    function, seen = counting(np.tanh)
    with microbatch.wrap(function, **FIXED) as wrapped:
        numbers = []
        for x in (X, X[:40], X.astype("f4"), X[:, :3], X):
            before = len(seen)
            wrapped(x)
            numbers.append(len(seen) - before)
    assert numbers == [4 + 3, 4, 4 + 3, 4 + 3, 4]


def test_trial_calls_are_small_and_of_different_length() -> None:
    function, seen = counting(np.tanh)
    with microbatch.wrap(function, **FIXED) as wrapped:
        wrapped(np.zeros((4000, 2)))
    trials = [rows for rows in seen if rows != 1000]
    assert len(trials) == 3 and len(set(trials)) > 1 and max(trials) < 20


def test_later_data_that_mix_rows_are_found_where_each_step_is_tried() -> None:
    def function(a: Any, mix: Any) -> Any:
        return a - a.mean(0) * float(mix)

    with microbatch.wrap(function, verify="always", **FIXED) as wrapped:
        np.testing.assert_allclose(wrapped(X, np.array(0.0)), X)
        with pytest.raises(MicrobatchError, match="output"):
            wrapped(X, np.array(1.0))
        np.testing.assert_allclose(wrapped(X, np.array(0.0)), X)


def centred(a: Any) -> Any:
    """One output by rows, and one that mixes them."""
    return {"y": a * 2, "centred": a - a.mean(0)}


def test_by_default_a_function_that_may_not_be_cut_runs_whole_with_one_warning() -> None:
    with microbatch.wrap(centred) as wrapped:
        with pytest.warns(Warning, match="centred") as told:
            first = wrapped(LARGE)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            again = wrapped(LARGE)
    for result in (first, again):
        np.testing.assert_array_equal(result["centred"], centred(LARGE)["centred"])
    report = wrapped.last_report
    assert len(told) == 1 and report is not None and report.sizes == (4096,) and "centred" in report.reason


@pytest.mark.parametrize("how", ["policy", "slices"])
def test_a_cut_that_was_asked_for_is_an_error_that_names_the_output(how: str) -> None:
    slices = [UBatchSlice.from_range(0, 32, 0, 32), UBatchSlice.from_range(32, 64, 32, 64)]
    options = FIXED if how == "policy" else {}
    with (
        microbatch.wrap(centred, **options) as wrapped,
        pytest.raises(MicrobatchError, match="centred") as told,
    ):
        wrapped(X, **({} if how == "policy" else {"ubatch_slices": slices}))
    assert "declare" in str(told.value)


def test_an_object_that_holds_rows_is_an_error_that_names_the_path_and_the_ways_out() -> None:
    function, seen = counting(lambda a, b: a + b.y[: len(a)])
    for options in (FIXED, {}):
        x = X if options else LARGE
        with microbatch.wrap(function, **options) as wrapped, pytest.raises(MicrobatchError) as told:
            wrapped(x, SimpleNamespace(y=x))
        text = str(told.value)
        assert ".y" in text and ("replicate" in text or "declare" in text)
    assert not seen


def test_an_object_that_is_declared_whole_goes_to_every_part() -> None:
    layout = Layout(inputs={"b": replicate()})
    with microbatch.wrap(lambda a, b: a @ b.y.T, layout=layout, **FIXED) as wrapped:
        np.testing.assert_allclose(wrapped(X, SimpleNamespace(y=X)), X @ X.T)


def test_a_value_that_verify_may_not_have() -> None:
    with pytest.raises(MicrobatchError, match="first"):
        microbatch.wrap(np.tanh, verify="once")
