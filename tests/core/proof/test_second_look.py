"""Flags, labels and values at a bound say little: the step's own result says which rows to try again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.errors import UnprovenError

ROWS = 3000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def beyond(x: Any, sigmas: float) -> Any:
    return np.abs(x[:, 0] - x[:, 0].mean()) > sigmas * x[:, 0].std()


MIXING: dict[str, Callable[[Any], Any]] = {
    "above the mean": lambda x: x[:, 0] > x[:, 0].mean(),
    "above the median": lambda x: (x[:, 0] > np.median(x[:, 0])).astype(np.int8),
    "sign of the distance": lambda x: np.sign(x - x.mean(0)),
    "quarters": lambda x: np.digitize(x[:, 0], np.quantile(x[:, 0], [0.25, 0.5, 0.75])),
    "rounded score": lambda x: np.round((x - x.mean(0)) / x.std(0)),
    "is the largest": lambda x: x[:, 0] == x[:, 0].max(),
    "outlier": lambda x: beyond(x, 3.0),
    "two outputs": lambda x: (x * 2, beyond(x, 2.5)),
    "largest column": lambda x: (x - x.mean(0)).argmax(1),
    "saturated sums": lambda x: np.tanh(np.cumsum(x[::-1], 0)[::-1] * 10),
    "clipped": lambda x: np.clip(x * 1e3 / np.abs(x).max(), -1, 1),
    "texts": lambda x: ["far" if far else "near" for far in beyond(x, 3.0)],
    "label texts": lambda x: np.where(beyond(x, 3.0), "outlier", "usual"),
}
APART: dict[str, Callable[[Any], Any]] = {
    "flag": lambda x: x[:, 0] > 0.5,
    "rare flag": lambda x: x[:, 0] > 3.0,
    "label": lambda x: x.argmax(1),
    "rectified": lambda x: np.maximum(x, 0),
    "clipped": lambda x: np.clip(x * 1e3, -1, 1),
    "texts": lambda x: ["far" if row > 3 else "near" for row in x[:, 0]],
    "not a number": lambda x: np.where(x > 2, np.nan, 1.0),
    "constant": lambda x: np.zeros(len(x)),
    "two outputs": lambda x: {"p": np.exp(x), "label": x.argmax(1)},
}


def same(first: Any, second: Any) -> bool:
    if isinstance(first, tuple):
        return all(map(same, first, second))
    if isinstance(first, dict):
        return all(same(first[name], second[name]) for name in first)
    return np.asarray(first).dtype == np.asarray(second).dtype and np.array_equal(
        first, second, equal_nan=np.asarray(first).dtype.kind == "f"
    )


@pytest.mark.parametrize("name", MIXING)
@given(seed=st.integers(0, 2**20))
def test_what_depends_on_other_rows_is_not_cut(name: str, seed: int) -> None:
    function, rows = MIXING[name], np.random.default_rng(seed).standard_normal((ROWS, 5))
    with microbatch.wrap(function, policy="fixed", num_ubatches=4) as wrapped:
        try:
            answer = wrapped(rows)
        except UnprovenError:
            return
    assert same(answer, function(rows))


@pytest.mark.parametrize("name", APART)
def test_what_does_not_is_cut_and_settled_by_the_first_step(name: str) -> None:
    """A constant is never settled: a later batch may be the first to have two values."""
    calls: list[int] = []

    def counted(x: Any) -> Any:
        calls.append(len(x))
        return APART[name](x)

    rows = np.random.default_rng(3).standard_normal((ROWS, 5))
    with microbatch.wrap(counted, policy="fixed", num_ubatches=4) as wrapped:
        for _ in range(2):
            calls.clear()
            assert same(wrapped(rows), APART[name](rows))
            assert len(wrapped.last_report.sizes) == 4  # type: ignore[union-attr]
        assert (calls == [ROWS // 4] * 4) == (name != "constant")


def test_a_flag_that_was_never_raised_is_looked_at_when_it_is() -> None:
    """In the first batches there is no outlier, so all of their result is one value."""
    draw = np.random.default_rng(5)
    with microbatch.wrap(lambda x: beyond(x, 3.0), num_ubatches=4, policy="fixed") as wrapped:
        for _ in range(3):
            flat = draw.uniform(-1, 1, (ROWS, 2))
            assert same(wrapped(flat), beyond(flat, 3.0))
        with pytest.raises(UnprovenError):
            wrapped(draw.standard_normal((ROWS, 2)))


def test_of_a_policy_that_was_not_named_the_step_runs_whole() -> None:
    """The warning says why; the answer is the plain call's."""
    rows = np.random.default_rng(7).standard_normal((1 << 17, 4))
    with microbatch.wrap(lambda x: beyond(x, 3.0), max_tokens_per_ubatch=1 << 14) as wrapped:
        for _ in range(3):
            assert same(wrapped(rows), beyond(rows, 3.0))


def test_a_step_that_only_fits_in_parts_is_looked_at_too() -> None:
    rows = np.random.default_rng(11).standard_normal((ROWS, 5))

    def hungry(x: Any) -> Any:
        if len(x) > ROWS // 2:
            raise MemoryError("too much")
        return beyond(x, 3.0)

    with microbatch.wrap(hungry) as wrapped, pytest.raises(UnprovenError):
        wrapped(rows)


def test_labels_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rows = torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(1))
    with microbatch.wrap(lambda x: x.argmax(1), policy="fixed", num_ubatches=4) as wrapped:
        assert torch.equal(wrapped(rows), rows.argmax(1))
    wrapped = microbatch.wrap(lambda x: x > x.mean(), policy="fixed", num_ubatches=4)
    with wrapped, pytest.raises(UnprovenError):
        wrapped(rows)


@given(seed=st.integers(0, 2**20))
def test_flags_of_tokens_whose_requests_are_tried(seed: int) -> None:
    """What is told apart are tokens; requests are what is tried, and a request may count its own tokens."""
    draw = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(draw.integers(1, 9, 300))])
    rows = draw.standard_normal((starts[-1], 3))
    with microbatch.wrap(mixing, policy="fixed", num_ubatches=4) as wrapped:
        try:
            answer = wrapped(rows, query_start_loc=starts)
        except UnprovenError:
            return
    assert same(answer, mixing(rows, starts))


def mixing(x: Any, query_start_loc: Any) -> Any:
    return beyond(x, 2.5)
