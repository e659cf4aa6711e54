"""Whether a function may be cut: a yes for what works by rows, a no with the place for what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.binding.batch import Layout, query_start_loc, reduce, tokens
from microbatch.errors import ArgumentTypeError, ArgumentValueError, LayoutError
from microbatch.proof.check import check
from microbatch.proof.report import CheckReport
from microbatch.proof.trial_cuts import trial_cuts

X = np.random.default_rng(0).normal(size=(12, 4)).astype("f4")
W = np.random.default_rng(1).normal(size=(4, 4)).astype("f4")


@given(
    rows=st.integers(2, 40),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(["f2", "f4", "f8", "i4", "?", "c8"]),
)
def test_what_works_by_rows_may_be_cut(rows: int, seed: int, dtype: str) -> None:
    x = np.random.default_rng(seed).normal(size=(rows, 4)).astype(dtype)
    report = check(lambda part: {"y": part @ W.astype(dtype), "x": (part, None, "name")}, x, seed=seed)
    assert report, str(report)
    assert report.relative < 1e-2
    assert str(report).startswith("may be cut")


@pytest.mark.pitfall(19)
@given(rows=st.integers(2, 40), seed=st.integers(0, 99))
def test_a_row_that_depends_on_the_others_is_found(rows: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(rows, 3))
    report = check(lambda part: part - part.mean(0), x, seed=seed, cuts=1)
    assert not report
    assert report.differences[0].path == "output"
    assert report.differences[0].row == 0
    assert "rows depend on each other" in report.reason


def test_the_first_row_that_differs_is_named() -> None:
    def neighbours(x: Any) -> Any:
        return {"same": x, "mixed": np.concatenate([x[:1], x[1:] + x[:-1]])}

    report = check(neighbours, np.arange(1, 9), cuts=0)
    halves = next(difference for difference in report.differences if difference.cut.startswith("halves"))
    assert (halves.path, halves.row, halves.whole, halves.parts) == ("output['mixed']", 4, "9", "5")
    assert "output['mixed'], row 4: 9 from the whole batch, 5 from the parts (halves: 4, 4)" in str(report)


def test_random_numbers_are_found() -> None:
    generator = np.random.default_rng(0)
    report = check(lambda x: x + generator.normal(size=x.shape), X)
    assert "two calls on the same whole batch give different outputs" in report.reason
    assert report.cuts == ()


def test_state_that_small_parts_change_is_found() -> None:
    seen = [0.0]

    def function(x: Any) -> Any:
        seen[0] += float(len(x) < 4)
        return x + max(0, seen[0] - 1000) + (seen[0] > 0 and len(x) == 12)

    report = check(function, X)
    assert "change state" in report.reason


def test_a_constant_that_depends_on_the_number_of_rows() -> None:
    report = check(lambda x: (x, len(x)), np.arange(8), cuts=0)
    assert not report
    told = [str(difference) for difference in report.differences]
    assert "output[1]: 8 from the whole batch, 4 from the parts (halves: 4, 4)" in told
    assert any("constant output[1] differs" in text for text in told)


def test_an_output_without_rows_may_be_declared() -> None:
    def function(x: Any) -> Any:
        return {"x": x, "sum": x.sum(0)}

    assert not check(function, X)
    total = reduce(lambda values, weights: np.sum(values, 0))
    assert check(function, X, layout=Layout(outputs={"sum": total}))


def test_parts_of_one_row_only() -> None:
    report = check(lambda x: x.squeeze() * 2, X)
    assert "parts of one row" in report.reason


def test_an_error_of_a_part_is_a_difference_and_of_the_whole_is_raised() -> None:
    def needs_three(x: Any) -> Any:
        if len(x) < 3:
            raise ValueError("too few rows")
        return x

    told = str(check(needs_three, X))
    assert "a part raised ValueError: too few rows" in told
    assert "parts fail where the whole batch does not" in told and "depend" not in told
    with pytest.raises(ValueError, match="too few rows"):
        check(needs_three, X[:2])


def test_a_function_that_writes_into_its_input_is_compared_fairly() -> None:
    before = X.copy()

    def in_place(x: Any) -> Any:
        x *= 2
        return x

    assert check(in_place, X)
    np.testing.assert_array_equal(X, before)


def test_requests_that_must_stay_whole() -> None:
    layout = Layout(inputs={"starts": query_start_loc()}, outputs={"output": tokens()})

    def positions(ids: Any, starts: Any) -> Any:
        return np.arange(len(ids)) - np.repeat(starts[:-1], np.diff(starts)) + ids

    report = check(positions, np.zeros(12, int), layout=layout, starts=np.array([0, 3, 7, 12]))
    assert not report
    assert "request-aligned" in report.reason
    assert any(cut.startswith("packed") for cut in report.cuts)


def test_an_output_that_depends_on_the_place_in_a_packed_batch() -> None:
    lengths = [1, 5, 2, 4, 3, 2, 5, 1]
    layout = Layout(inputs={"x": tokens(trim=1)}, outputs={"output": tokens(trim=1)}, lengths="n")
    x = np.where(np.arange(5) < np.array(lengths)[:, None], 1.0, 0.0)
    assert check(lambda x, n: x * 2, x, layout=layout, n=np.array(lengths))
    report = check(lambda x, n: x + 1, x, layout=layout, n=np.array(lengths))
    assert not report, "padding that the function fills is not there in a trimmed part"


@pytest.mark.parametrize(("noise", "cuttable"), [(1e-6, True), (1e-2, False)])
def test_rounding_is_allowed_and_measured(noise: float, cuttable: bool) -> None:
    def function(x: Any) -> Any:
        return x * np.float32(1 + noise * len(x) / 12)

    report = check(function, X)
    assert report.cuttable is cuttable
    if cuttable:
        assert 0 < report.relative < 1e-5
    assert bool(check(function, X, rtol=0.1, atol=0.1)) is True
    assert bool(check(function, X, rtol=0.0, atol=0.0)) is False


def test_nan_and_infinity_are_values() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0])
    assert check(lambda part: part * 1, x)
    assert not check(lambda part: np.where(len(part) == 5, part, np.nan), x)


def test_a_wrapped_function_is_unwrapped_and_strings_compare() -> None:
    layout = Layout(inputs={"0": tokens()}, outputs={"output": tokens()})
    with microbatch.wrap(lambda texts: [text.upper() for text in texts], layout=layout) as wrapped:
        assert check(wrapped, ["a", "b", "c"])
    assert not check(lambda texts: [f"{text}{len(texts)}" for text in texts], ["a", "b", "c"], layout=layout)


def test_what_cannot_be_checked() -> None:
    with pytest.raises(ArgumentValueError, match="only 1 row,"):
        check(np.copy, X[:1])
    with pytest.raises(LayoutError, match="nothing to split"):
        check(len, "text")
    with pytest.raises(ArgumentTypeError):
        check(3, X)  # type: ignore[arg-type]


def test_a_report_is_a_frozen_record() -> None:
    report = check(np.copy, X)
    assert isinstance(report, CheckReport)
    with pytest.raises(AttributeError):
        report.cuttable = False  # type: ignore[misc]


@given(tokens_=st.integers(2, 300), seed=st.integers(0, 9), drawn=st.integers(0, 5))
def test_the_same_seed_tries_the_same_cuts(tokens_: int, seed: int, drawn: int) -> None:
    from microbatch.cutting.cut import BatchShape

    shape = BatchShape(num_tokens=tokens_, num_requests=tokens_)
    labels = [trial.label for trial in trial_cuts(shape, seed, drawn)]
    assert labels == [trial.label for trial in trial_cuts(shape, seed, drawn)]
    for trial in trial_cuts(shape, seed, drawn):
        assert sum(piece.num_tokens for piece in trial.cut.slices) == tokens_
        assert len(trial.cut.slices) <= 17


@pytest.mark.pitfall(19)
def test_batch_norm_in_training_is_found_and_in_evaluation_is_fine() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    norm = torch.nn.BatchNorm1d(4)
    report = check(norm, torch.tensor(X))
    assert not report
    assert "Expected more than 1 value per channel" in str(report)
    norm.eval()
    assert check(norm, torch.tensor(X))
    assert check(torch.nn.Linear(4, 4), torch.tensor(X))
    dropout = check(torch.nn.Dropout(0.5), torch.tensor(X))
    assert "random numbers" in dropout.reason
