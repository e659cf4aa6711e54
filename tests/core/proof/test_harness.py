"""The battery itself: a wrapper that cuts without proof is found out, and unequal answers are told apart."""

from __future__ import annotations

import collections
from typing import Any, Self

import numpy as np
import pytest

import microbatch
from microbatch.extend.records import StepReport
from tests.core.proof.holders import Named, Plain
from tests.core.proof.pairs_hidden import HIDDEN
from tests.core.proof.pairs_mixing import MIXING
from tests.core.proof.pairs_rows import ROWS
from tests.core.proof.runs import FIXED_FOUR, Runs, fails
from tests.support.answers import Compare


class Careless:
    """Cuts every array that is as long as the first argument into four, and joins what comes out."""

    def __init__(self, function: Any, **options: Any) -> None:
        self.function = function
        self.last_report = StepReport(step=0, num_tokens=4, num_requests=4, sizes=(1,) * 4, seconds=0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        rows = len(args[0])
        parts = [slice(rows * at // 4, rows * (at + 1) // 4) for at in range(4)]
        return np.concatenate([self.part(part, rows, args, kwargs) for part in parts])

    def part(self, part: slice, rows: int, args: Any, kwargs: Any) -> Any:
        """The result of some rows."""
        cut = [arg[part] if isinstance(arg, np.ndarray) and len(arg) == rows else arg for arg in args]
        return self.function(*cut, **kwargs)


@pytest.fixture
def _careless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microbatch, "wrap", Careless)


@pytest.mark.usefixtures("_careless")
def test_cutting_without_a_proof_is_found() -> None:
    found = [fails(Runs(pair, FIXED_FOUR)) for pair in (*MIXING, *HIDDEN) if pair.by == "nothing"]
    assert sum("silently wrong" in one for one in found) > 0.6 * len(found)
    wrong = fails(Runs(next(pair for pair in MIXING if pair.name == "less the mean"), FIXED_FOUR))
    assert wrong.startswith("'less the mean' under fixed, call 1: silently wrong: output[0, 0]: ")


@pytest.mark.usefixtures("_careless")
def test_rows_that_are_apart_are_right_even_so() -> None:
    plain = [pair for pair in ROWS if len(pair.inputs) == 1 and pair.name not in ("weights in a closure",)]
    found = collections.Counter(fails(Runs(pair, FIXED_FOUR)) for pair in plain[:20])
    assert found[""] >= 19, found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.ones(3), np.ones(4)),
        (np.ones(3), np.ones(3, "f4")),
        (np.ones(3), np.ones(3).view(np.recarray)),
        (np.ones(3), [1.0, 1.0, 1.0]),
        (np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-6])),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array(["a"]), np.array(["b"])),
        (np.array([1.0, np.nan]), np.array([np.nan, np.nan])),
        (np.array([None, 1], object), np.array([None, 2], object)),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), np.ma.array([1.0, 2.0], mask=[0, 0])),
        ([1, 2], (1, 2)),
        ([1, 2], [1, 2, 3]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 2}),
        (Named(np.ones(2)), (np.ones(2), 2.0)),
        (Plain(np.ones(2)), Plain(np.zeros(2))),
        (1, True),
        ("a", "b"),
        (None, 0),
        (collections.deque([1]), [1]),
    ],
)
def test_unequal_answers_are_told_apart(one: Any, other: Any) -> None:
    assert Compare().difference(one, other) and Compare(exact=True).difference(other, one)


def test_equal_answers_are_equal_and_rounding_is_allowed_unless_exact() -> None:
    def made() -> Any:
        return {"a": [np.ones(3), None, "x", Plain([1, 2])], "b": (np.nan, np.array([np.nan, np.inf]))}

    assert not Compare(exact=True).difference(made(), made())
    assert Compare().difference((x for x in "ab"), (x for x in "ac"))
    near = np.ones(3) + 1e-12
    assert not Compare().difference(np.ones(3), near) and Compare(exact=True).difference(np.ones(3), near)
