"""What calls a verdict holds for: what may not be taken over, and what is not tried again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import UnprovenError
from microbatch.proof.verdict import Verdict
from microbatch.proof.verdicts import ENOUGH, KEPT, Verdicts

X = np.random.default_rng(0).normal(size=(64, 3))
PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 4}
TRIALS = [5, 7, 12]


def counted(rows: list[int]) -> Any:
    def function(x: Any, number: float) -> Any:
        rows.append(len(x))
        return x * number

    return function


def test_a_number_that_is_new_in_each_call_is_tried_a_few_times() -> None:
    """The time step of a loop; not 0, for which all rows of the result are alike, which shows nothing."""
    rows: list[int] = []
    with microbatch.wrap(counted(rows), **PARTS) as wrapped:
        for step in range(1, 31):
            np.testing.assert_array_equal(wrapped(X, step), X * step)
    assert [rows[at : at + 3] for at in range(len(rows))].count(TRIALS) == ENOUGH


def test_numbers_with_different_verdicts_are_each_tried() -> None:
    with microbatch.wrap(lambda x, axis: x - x.mean(axis, keepdims=True), **PARTS) as wrapped:
        for axis in (1, -1):
            np.testing.assert_allclose(wrapped(X, axis), X - X.mean(1, keepdims=True))
        with pytest.raises(UnprovenError):
            wrapped(X, 0)


@pytest.mark.parametrize(
    "make", [lambda axis: SimpleNamespace(axis=axis), lambda axis: [axis]], ids=["an object", "a list"]
)
def test_settings_are_part_of_the_structure(make: Any) -> None:
    def function(x: Any, settings: Any) -> Any:
        axis = settings[0] if isinstance(settings, list) else settings.axis
        return x - x.mean(axis, keepdims=True)

    with microbatch.wrap(function, **PARTS) as wrapped:
        np.testing.assert_allclose(wrapped(X, make(1)), X - X.mean(1, keepdims=True))
        with pytest.raises(UnprovenError):
            wrapped(X, make(0))


def test_rows_that_differ_anywhere_are_tried_after_rows_that_were_alike() -> None:
    """Also where the rows that are looked at first are still zeros."""
    padded = np.zeros((64, 3))
    padded[1] = 1.0
    with microbatch.wrap(lambda x: x - x.mean(0), **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(np.zeros((64, 3))), np.zeros((64, 3)))
        with pytest.raises(UnprovenError):
            wrapped(padded)


def test_rows_that_stay_alike_are_not_tried_every_time() -> None:
    rows: list[int] = []
    with microbatch.wrap(counted(rows), **PARTS) as wrapped:
        for _ in range(3):
            wrapped(np.ones((64, 3)), 2)
    assert rows == [*TRIALS, *[16] * 12]


def test_what_is_kept_is_bounded_and_the_last_counts() -> None:
    verdicts, whole = Verdicts(), Verdict(why_whole="why")
    for number in range(3 * KEPT):
        verdicts.keep(("structure", number), (), Verdict())
    assert sum(verdicts.find(("structure", number), ()) is not None for number in range(3 * KEPT)) == KEPT
    verdicts.keep("one", (), Verdict())
    verdicts.keep("one", (), whole)
    assert verdicts.find("one", ()) == whole
    for number in range(ENOUGH):
        assert verdicts.find("numbers", (ENOUGH,)) is None
        verdicts.keep("numbers", (number,), Verdict())
    assert verdicts.find("numbers", (ENOUGH,)) == Verdict()
    verdicts.keep("numbers", (0,), whole)
    assert verdicts.find("numbers", (ENOUGH,)) is None
