"""Gaps, extremes, zeros and rows that are there twice: what is done to them may depend on all other rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microbatch
from microbatch.errors import UnprovenError

ROWS = 3000
PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 4}
Case = tuple[Callable[[np.random.Generator], Any], Callable[[Any], Any]]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def gaps(draw: np.random.Generator) -> Any:
    rows = draw.standard_normal((ROWS, 3))
    rows[draw.random(rows.shape) < 0.01] = np.nan
    return rows


def rare_gaps(draw: np.random.Generator) -> Any:
    """Columns with ever more gaps; the first one has some dozen of them."""
    rows = draw.standard_normal((ROWS, 4)) * (1, 100, 1, 1)
    rows[draw.random(rows.shape) < (0.005, 0.3, 0.05, 0)] = np.nan
    return rows


def one_gap(draw: np.random.Generator) -> Any:
    rows = draw.standard_normal((ROWS * 10, 2))
    rows[draw.random(len(rows)) < 0.3, 1] = np.nan
    rows[draw.integers(len(rows)), 0] = np.nan
    return rows


def rare_gaps_in_a_table(draw: np.random.Generator) -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame(rare_gaps(draw), columns=list("abcd"))
    return table.assign(text=np.where(draw.random(ROWS) < 0.06, None, "some words"))


def first_by_mean(x: Any) -> Any:
    first = np.where(np.isnan(x[:, :1]), np.nanmean(x[:, :1]), x[:, :1])
    return np.concatenate([first, x[:, 1:]], 1)


def zeros(draw: np.random.Generator) -> Any:
    rows = np.abs(draw.standard_normal((ROWS, 3)))
    rows[draw.random(rows.shape) < 0.01] = 0
    return rows


def far_out(draw: np.random.Generator) -> Any:
    return draw.standard_t(3, size=(ROWS, 3))


def frame(draw: np.random.Generator) -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.DataFrame(gaps(draw), columns=list("abc"))


def keys(draw: np.random.Generator) -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.DataFrame({"k": draw.integers(0, 2000, ROWS), "v": np.arange(float(ROWS))})


def classes(draw: np.random.Generator) -> Any:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    return pandas.Series(draw.choice(["x", "y", None], ROWS, p=[0.5, 0.48, 0.02]))


def names(draw: np.random.Generator) -> list[str]:
    return [f"n{number}" for number in draw.integers(0, 2000, ROWS).tolist()]


def marked(texts: list[str]) -> list[str]:
    seen: set[str] = set()
    return [f"{text} again" if text in seen else seen.add(text) or text for text in texts]


MIXING: dict[str, Case] = {
    "gaps by means": (gaps, lambda x: np.where(np.isnan(x), np.nanmean(x, 0), x)),
    "gaps by medians": (gaps, lambda x: np.where(np.isnan(x), np.nanmedian(x), x)),
    "fillna": (frame, lambda table: table.fillna(table.mean())),
    "gaps of one column": (rare_gaps, first_by_mean),
    "one gap of thirty thousand rows": (one_gap, first_by_mean),
    "fillna of one column": (rare_gaps_in_a_table, lambda t: t.assign(a=t["a"].fillna(t["a"].mean()))),
    "ffill of one column": (rare_gaps_in_a_table, lambda t: t.assign(a=t["a"].ffill())),
    "ffill": (frame, lambda table: table.ffill()),
    "interpolate": (frame, lambda table: table.interpolate()),
    "the commonest class": (classes, lambda column: column.fillna(column.mode().iloc[0])),
    "outliers": (far_out, lambda x: np.where(abs(x - x.mean(0)) > 4 * x.std(0), np.median(x, 0), x)),
    "winsorized": (far_out, lambda x: np.clip(x, *np.quantile(x, [0.001, 0.999]))),
    "scaled where large": (far_out, lambda x: x / (abs(x).max() if abs(x).max() > 10 else 1)),
    "zeros by the least": (zeros, lambda x: np.where(x == 0, x[x > 0].min() / 2, x)),
    "numbered within keys": (keys, lambda table: table.groupby("k").cumcount()),
    "there before": (keys, lambda table: table["k"].duplicated()),
    "means of keys": (keys, lambda table: table.groupby("k")["v"].transform("mean")),
    "names again": (names, marked),
}
APART: dict[str, Case] = {
    "gaps by a number": (gaps, lambda x: np.nan_to_num(x, nan=-1.0)),
    "fillna": (frame, lambda table: table.fillna(0.0)),
    "logarithms": (zeros, lambda x: np.log1p(x)),
    "clipped": (far_out, lambda x: np.clip(x, -3, 3)),
    "means of rows": (gaps, lambda x: np.nanmean(x, 1)),
    "columns": (keys, lambda table: table.assign(w=table["v"] * 2)),
    "classes": (classes, lambda column: column.map({"x": 1.0, "y": 2.0})),
    "texts": (names, lambda texts: [text.upper() for text in texts]),
}


def same(first: Any, second: Any) -> bool:
    if hasattr(first, "equals"):
        return bool(first.equals(second))
    if isinstance(first, list):
        return bool(first == second)
    return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=True)


@pytest.mark.parametrize("name", MIXING)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**20))
def test_what_depends_on_other_rows_is_not_cut(name: str, seed: int) -> None:
    make, function = MIXING[name]
    batch = make(np.random.default_rng(seed))
    with microbatch.wrap(function, **PARTS) as wrapped:
        try:
            answer = wrapped(batch)
        except UnprovenError:
            return
    assert same(answer, function(batch))


@pytest.mark.parametrize("name", APART)
def test_what_does_not_is_cut(name: str) -> None:
    make, function = APART[name]
    batch = make(np.random.default_rng(3))
    with microbatch.wrap(function, **PARTS) as wrapped:
        assert same(wrapped(batch), function(batch))
        assert len(wrapped.last_report.sizes) == 4  # type: ignore[union-attr]


@given(seed=st.integers(0, 2**20), requests=st.integers(2, 300))
def test_gaps_in_tokens_of_requests(seed: int, requests: int) -> None:
    draw = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(draw.integers(1, 9, requests))])
    rows = draw.standard_normal((starts[-1], 3))
    rows[draw.integers(len(rows))] = np.nan

    def filled(x: Any, query_start_loc: Any) -> Any:
        return np.where(np.isnan(x), np.nanmean(x), x)

    with microbatch.wrap(filled, policy="fixed", num_ubatches=2) as wrapped:
        try:
            answer = wrapped(rows, query_start_loc=starts)
        except UnprovenError:
            return
    assert same(answer, filled(rows, starts))


def test_gaps_of_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    rows = torch.from_numpy(gaps(np.random.default_rng(1)))
    wrapped = microbatch.wrap(lambda x: torch.where(x.isnan(), x.nanmean(), x), **PARTS)
    with wrapped, pytest.raises(UnprovenError):
        wrapped(rows)
