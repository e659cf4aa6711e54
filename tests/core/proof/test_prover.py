"""When a function is tried, what is kept of it, and what the caller sees."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import LayoutError, OutputMismatchError, StepOutOfMemoryError, UnprovenError

X = np.random.default_rng(0).normal(size=(64, 3))
PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 4}
LARGE = np.random.default_rng(1).normal(size=(4096, 512))
"""Large enough for `auto` to cut it."""


class Counted:
    """A function that notes how many rows it was given."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.rows: list[int] = []

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        self.rows.append(len(x))
        return self.function(x, *args, **kwargs)


def test_three_calls_on_a_few_rows_once_a_structure() -> None:
    function = Counted(np.tanh)
    with microbatch.wrap(function, **PARTS) as wrapped:
        for x in (X, X[:40], X * 2):
            np.testing.assert_array_equal(wrapped(x), np.tanh(x))
        assert function.rows[:3] == [5, 7, 12]
        assert function.rows[3:] == [16] * 4 + [10] * 4 + [16] * 4
        wrapped(X.astype("f4"))  # another structure
        assert function.rows[15:18] == [5, 7, 12]


def test_a_step_that_runs_whole_is_not_tried() -> None:
    function = Counted(np.tanh)
    with microbatch.wrap(function) as wrapped:
        wrapped(X)
    assert function.rows == [64]


def test_a_switch_is_part_of_the_structure() -> None:
    with microbatch.wrap(lambda a, axis: a - a.mean(axis, keepdims=True), **PARTS) as wrapped:
        np.testing.assert_allclose(wrapped(X, 1), X - X.mean(1, keepdims=True))
        with pytest.raises(UnprovenError, match="depends on the other rows"):
            wrapped(X, 0)
        np.testing.assert_allclose(wrapped(X, 1), X - X.mean(1, keepdims=True))


def test_refuted_under_auto_runs_whole_with_one_warning() -> None:
    with microbatch.wrap(lambda a: a - a.mean(0)) as wrapped:
        with pytest.warns(UserWarning, match="each call runs whole: output of a row depends"):
            first = wrapped(LARGE)
        np.testing.assert_array_equal(first, LARGE - LARGE.mean(0))
        second = wrapped(LARGE * 2)  # a second warning would be an error here
        np.testing.assert_array_equal(second, LARGE * 2 - (LARGE * 2).mean(0))
        assert wrapped.last_report is not None
        assert wrapped.last_report.schedule == "whole" and "not cut: output" in wrapped.last_report.reason


def test_refuted_under_a_named_cut_is_an_error_that_says_what_was_seen() -> None:
    with (
        microbatch.wrap(lambda a: {"y": a, "rows": len(a)}, **PARTS) as wrapped,
        pytest.raises(UnprovenError, match=r"output\['rows'\] is 5 for 5 rows and 12 for 12.*Layout"),
    ):
        wrapped(X)
        with pytest.raises(UnprovenError):
            wrapped(X)
    with microbatch.wrap(lambda a: a - a.mean(0)) as wrapped:
        given = [microbatch.UBatchSlice.from_range(*edges, *edges) for edges in ((0, 30), (30, 64))]
        with pytest.raises(UnprovenError):
            wrapped(X, ubatch_slices=given)


def test_the_functions_own_error_reaches_the_caller_as_it_was() -> None:
    def broken(x: Any) -> Any:
        raise KeyError("mine")

    for options in (PARTS, {}):
        with microbatch.wrap(broken, **options) as wrapped:
            for _ in range(2):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    with pytest.raises(KeyError, match="mine"):
                        wrapped(LARGE)


@pytest.mark.parametrize("least", [8, 100])
def test_a_function_that_needs_more_rows(least: int) -> None:
    def function(x: Any) -> Any:
        if len(x) < least:
            raise ValueError("too few rows")
        return x * 2

    x = np.random.default_rng(0).normal(size=(1600, 2))
    with microbatch.wrap(function, **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2)
        assert wrapped.last_report is not None and len(wrapped.last_report.sizes) == 4
    with microbatch.wrap(function, policy="auto") as wrapped, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(wrapped(LARGE), LARGE * 2)


@pytest.mark.parametrize("options", [{}, PARTS])
def test_what_differs_only_at_the_size_of_the_step_is_found_afterwards(options: dict[str, Any]) -> None:
    def function(x: Any) -> Any:
        return x * 2 if len(x) < 14 else x - x.mean(0)

    with microbatch.wrap(function, **options) as wrapped:
        if options:
            with pytest.raises(UnprovenError, match="another at the size of the step"):
                wrapped(X)
            return
        for _ in range(2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                np.testing.assert_array_equal(wrapped(LARGE), LARGE - LARGE.mean(0))


def test_a_constant_that_another_part_contradicts() -> None:
    labels = np.arange(4096) % 5 * 2
    labels[1] = 3  # a row that is not among those that are tried: neither extreme nor spread evenly

    def function(x: Any, kinds: Any) -> Any:
        return {"y": x * 2, "odd": bool((kinds == 3).any())}

    with microbatch.wrap(function) as wrapped, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert wrapped(LARGE, labels)["odd"]
    with microbatch.wrap(function, **PARTS) as wrapped, pytest.raises((UnprovenError, OutputMismatchError)):
        wrapped(LARGE, labels)


def test_rows_that_are_all_alike_show_little_and_are_tried_again() -> None:
    with microbatch.wrap(lambda a: a - a.mean(0), **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(np.ones((64, 3))), np.zeros((64, 3)))
        with pytest.raises(UnprovenError):
            wrapped(X)


def test_always_tries_before_every_step() -> None:
    function = Counted(np.tanh)
    with microbatch.wrap(function, verify="always", **PARTS) as wrapped:
        for _ in range(2):
            wrapped(X)
    assert function.rows == [5, 7, 12, *[16] * 4] * 2


def test_never_takes_what_is_certain_and_refuses_the_rest() -> None:
    function = Counted(lambda x, w: x @ w)
    with (
        microbatch.wrap(function, verify="never", **PARTS) as wrapped,
        pytest.raises(LayoutError, match=r"has 3 rows but x has 64 .*replicate\(\)"),
    ):
        wrapped(X, np.ones((3, 2)))
        assert function.rows == []
    with microbatch.wrap(np.tanh, verify="never", **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(X), np.tanh(X))


def test_declared_inputs_and_outputs_are_not_tried() -> None:
    function = Counted(lambda x: x * 2)
    layout = microbatch.Layout(inputs={"x": microbatch.tokens()}, outputs={"output": microbatch.tokens()})
    with microbatch.wrap(function.__call__, layout=layout, **PARTS) as wrapped:
        wrapped(X)
    assert function.rows == [16] * 4


def test_a_declared_output_beside_an_undeclared_one() -> None:
    layout = microbatch.Layout(outputs={"loss": microbatch.reduce(lambda values, weights: sum(values))})
    with microbatch.wrap(lambda x: {"loss": float(x.sum()), "y": x + 1}, layout=layout, **PARTS) as wrapped:
        result = wrapped(X)
    np.testing.assert_array_equal(result["y"], X + 1)
    assert abs(result["loss"] - X.sum()) < 1e-9


def test_memory_that_runs_out_in_the_trial_makes_it_smaller() -> None:
    def narrow(x: Any) -> Any:
        if len(x) > 4:
            raise MemoryError("too many")
        return x * 2

    with microbatch.wrap(narrow, schedule="sequential", **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)


def test_a_function_that_may_not_be_cut_says_so_when_memory_runs_out() -> None:
    def function(x: Any) -> Any:
        if len(x) == 64:
            raise MemoryError("no room")
        return x - x.mean(0)

    with (
        microbatch.wrap(function) as wrapped,
        pytest.raises(StepOutOfMemoryError, match="memory ran out.*must not be cut"),
    ):
        wrapped(X)


def test_calls_of_several_threads_come_to_one_verdict() -> None:
    function = Counted(lambda a: np.tanh(a) + 1)
    results: list[Any] = []
    with microbatch.wrap(function, **PARTS) as wrapped:
        threads = [threading.Thread(target=lambda: results.append(wrapped(X))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 6
    for result in results:
        np.testing.assert_array_equal(result, np.tanh(X) + 1)


@pytest.mark.parametrize("most", [2, 1])
def test_a_function_that_fits_few_rows(most: int) -> None:
    def function(x: Any) -> Any:
        if len(x) > most:
            raise MemoryError("ran out")
        return x * 2

    options = {"num_ubatches": 64, "policy": "fixed", "schedule": "sequential"}
    with microbatch.wrap(function, **options) as wrapped:
        if most == 1:
            with pytest.raises(StepOutOfMemoryError, match="tried on 2 rows.*Layout"):
                wrapped(X)
        else:
            np.testing.assert_array_equal(wrapped(X), X * 2)
    declared = microbatch.Layout(inputs={"x": microbatch.tokens()}, outputs={"output": microbatch.tokens()})
    with microbatch.wrap(function, layout=declared) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)


def test_numbers_of_python_are_compared_as_closely_as_they_were_computed() -> None:
    """What comes from float32 is told by its last bits, which are zero."""

    def lists(x: Any) -> Any:
        return (x.sum(1) * (1 + x.dtype.type(1e-6) * x.mean())).tolist()

    with microbatch.wrap(lists, **PARTS) as wrapped, pytest.raises(UnprovenError):
        wrapped(X.astype(np.float64))
    with microbatch.wrap(lambda x: x.sum(1).tolist(), **PARTS) as wrapped:
        assert wrapped(X.astype(np.float32)) == pytest.approx(X.astype(np.float32).sum(1).tolist(), rel=1e-5)
