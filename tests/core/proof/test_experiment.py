"""An experiment leaves no trace in what the caller handed in, and sees what a function does to it."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import UnprovenError

X = np.random.default_rng(0).normal(size=(64, 3))
PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 4}


@pytest.mark.parametrize("size", [3, 1 << 20], ids=["copied", "too large to copy"])
def test_a_function_that_writes_into_what_goes_whole_is_found_before_any_harm(size: int) -> None:
    def function(x: Any, counts: Any) -> Any:
        counts[:3] += x.sum(0)
        return x * 2

    counts = np.zeros(size)
    with microbatch.wrap(function, **PARTS) as wrapped, pytest.raises((UnprovenError, ValueError)):
        wrapped(X, counts)
    assert not counts.any()


def test_a_function_that_writes_into_a_list_is_not_cut() -> None:
    def function(x: Any, texts: list[str]) -> Any:
        texts[0] = "changed"
        return x

    with (
        microbatch.wrap(function, **PARTS) as wrapped,
        pytest.raises(UnprovenError, match="writes into a list"),
    ):
        wrapped(X, ["text"] * 64)


@pytest.mark.parametrize("kind", [list, tuple, deque])
def test_lists_come_in_and_go_out_as_they_are(kind: Any) -> None:
    texts = kind(f"text {number}" for number in range(64))
    with microbatch.wrap(lambda t: {"upper": kind(s.upper() for s in t), "n": 3}, **PARTS) as wrapped:
        result = wrapped(texts)
        assert wrapped.last_report is not None and len(wrapped.last_report.sizes) == 4
    assert result == {"upper": kind(s.upper() for s in texts), "n": 3}
    assert type(result["upper"]) is kind


def test_a_range_is_cut_by_rows() -> None:
    with microbatch.wrap(lambda x, places: x + np.asarray(places)[:, None], **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(X, range(64)), X + np.arange(64)[:, None])


def test_rows_on_another_axis_and_rows_of_objects() -> None:
    with microbatch.wrap(lambda x: (x.T, [{"first": row[0]} for row in x]), **PARTS) as wrapped:
        across, rows = wrapped(X)
    np.testing.assert_array_equal(across, X.T)
    assert rows == [{"first": row[0]} for row in X]


def test_the_reading_of_the_sizes_is_shown_to_be_right() -> None:
    weight, table = np.random.default_rng(1).normal(size=(64, 64)), np.arange(640.0).reshape(64, 10)
    square, index = np.random.default_rng(2).normal(size=(64, 64)), np.arange(64) % 7
    with microbatch.wrap(lambda x, w: x @ w.T, **PARTS) as wrapped:
        np.testing.assert_allclose(wrapped(square, weight), square @ weight.T)
    with microbatch.wrap(lambda i, t: t[i % 64], **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(index, table), table[index])
    params = {"bias": np.arange(5.0), "weight": np.ones((3, 5))}
    with microbatch.wrap(lambda p, x: x @ p["weight"] + p["bias"], **PARTS) as wrapped:
        np.testing.assert_allclose(wrapped(params, X), X @ params["weight"] + params["bias"])
        assert wrapped.last_report is not None and wrapped.last_report.num_tokens == 64


def test_a_part_with_as_many_rows_as_a_weight_is_cut_as_its_batch_was() -> None:
    """A part that runs out of memory is cut further: by then it has as many rows as the weight."""

    def function(x: Any, w: Any) -> Any:
        if len(x) > 8:
            raise MemoryError("no room")
        return x @ w

    weight = np.random.default_rng(1).normal(size=(16, 16))
    x = np.random.default_rng(2).normal(size=(64, 16))
    with microbatch.wrap(function, **PARTS) as wrapped:
        np.testing.assert_allclose(wrapped(x, weight), x @ weight)


def test_random_numbers_are_put_back() -> None:
    np.random.seed(3)
    expected = X + np.random.normal(size=X.shape)
    np.random.seed(3)
    with (
        microbatch.wrap(lambda x: x + np.random.normal(size=x.shape), **PARTS) as wrapped,
        pytest.raises(UnprovenError, match="draws random numbers"),
    ):
        wrapped(X)
    np.testing.assert_array_equal(X + np.random.normal(size=X.shape), expected)


def test_each_token_a_request_of_its_own() -> None:
    layout = microbatch.Layout(inputs={"starts": microbatch.query_start_loc()})
    with microbatch.wrap(lambda x, starts: x * 2, layout=layout, **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(X, np.arange(65)), X * 2)


def test_classes_functions_and_modules_as_arguments() -> None:
    with microbatch.wrap(lambda x, dtype, fn, lib: lib.abs(fn(x)).astype(dtype), **PARTS) as wrapped:
        np.testing.assert_array_equal(
            wrapped(X, np.float32, np.tanh, np), np.abs(np.tanh(X)).astype(np.float32)
        )


def test_what_is_written_into_the_rows_must_be_of_the_rows_too() -> None:
    def centre(x: Any) -> None:
        x -= x.mean(0)

    x = X.copy()
    with (
        microbatch.wrap(centre, **PARTS) as wrapped,
        pytest.raises(UnprovenError, match="writes into array 0 of its arguments"),
    ):
        wrapped(x)
    np.testing.assert_array_equal(x, X)


def test_returning_an_argument_that_goes_whole_is_no_shared_memory() -> None:
    table = np.arange(5.0)
    with microbatch.wrap(lambda x, t: (x * 2, t), schedule="parallel", **PARTS) as wrapped:
        doubled, same = wrapped(X, table)
    np.testing.assert_array_equal(doubled, X * 2)
    np.testing.assert_array_equal(same, table)


def test_what_a_function_sets_up_in_its_first_call_is_no_obstacle() -> None:
    """A model that is loaded when it is first used: loaded once, and parts may run side by side."""
    loaded: dict[str, Any] = {}
    times: list[str] = []

    def function(x: Any) -> Any:
        if "weight" not in loaded:
            times.append("loaded")
            loaded["weight"] = np.full(3, 2.0)
        return x * loaded["weight"]

    large = np.random.default_rng(0).normal(size=(4096, 3)).repeat(64, axis=1)[:, :192]
    with microbatch.wrap(lambda x: function(x[:, :3])) as wrapped:
        np.testing.assert_array_equal(wrapped(large), large[:, :3] * 2)
        assert wrapped.last_report is not None and wrapped.last_report.schedule == "parallel"
    assert times == ["loaded"]  # what the first trial wrote was put back, to see that the result is the same


def test_a_scale_of_the_first_batch_is_no_setting_up() -> None:
    state: dict[str, Any] = {}

    def function(x: Any) -> Any:
        return x / state.setdefault("scale", np.abs(x).max())

    with microbatch.wrap(function, **PARTS) as wrapped, pytest.raises(UnprovenError, match="'scale'"):
        wrapped(X)
    assert not state
