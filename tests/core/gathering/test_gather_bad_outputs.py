"""Outputs that do not fit together: the error names the output, the ubatches and both values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from microbatch.binding.batch import Layout, query_start_loc, tokens
from microbatch.errors import ArgumentTypeError, ArgumentValueError, OutputMismatchError

Run = Callable[..., Any]
X = np.arange(8.0).reshape(4, 2)


def refused(run_cut: Run, outputs: list[Any], **options: Any) -> str:
    waiting = iter(outputs)
    with pytest.raises(OutputMismatchError) as caught:
        run_cut(lambda part: next(waiting), X, splitter="even", num_ubatches=2, **options)
    return str(caught.value)


@pytest.mark.case(72, 75, 76, 77, 78, 79)
@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (
            [{"a": X[:2]}, (X[:2], 1)],
            ["ubatch 1 returned a tuple of 2", "ubatch 0 returned a dict (keys: a)"],
        ),
        ([{"a": X[:2]}, {"b": X[:2]}], ["(keys: b)", "(keys: a)"]),
        ([X[:2], {"a": X[:2]}], ["ubatch 1", "a dict"]),
        ([X[:2], None], ["output is None in ubatch 1", "float64"]),
        ([{"h": X[:2]}, {"h": None}], ["output['h'] is None in ubatch 1"]),
        ([{"h": None}, {"h": X[:2]}], ["output['h'] is float64", "None in ubatch 0"]),
        ([X[:2], X[:2].astype("f4")], ["float32", "ubatch 1", "float64", "ubatch 0"]),
        ([X[:2], X[:2, :1]], ["shape (1,) in ubatch 1 and (2,) in ubatch 0", "tokens(trim=1)"]),
        ([X[:2], X[:2, 0]], ["shape () in ubatch 1 and (2,) in ubatch 0"]),
        (
            [X[:2], X[:1]],
            ["output does not have one row for each row of the input: ubatch 1 had 2", "returned 1 rows"],
        ),
        (
            [{"h": X[:1]}, {"h": X[:2]}],
            [
                "output['h'] does not have one row for each row of the input: ubatch 0 had 2",
                "returned 1 rows",
            ],
        ),
        (
            [{"h": X[:2], "n": 1}, {"h": X[:2], "n": 2}],
            ["constant output['n'] differs: 1 in ubatch 0, 2 in ubatch 1"],
        ),
        ([np.float64(1), np.float64(3)], ["output differs: 1.0 in ubatch 0, 3.0 in ubatch 1", "reduce(fn)"]),
        ([object(), object()], ["constant output differs", "collect()"]),
        ([["a"], ["b", "c"]], ["ubatch 1 returned a list of 2", "tokens()"]),
    ],
    ids=[f"case{number}" for number in range(15)],
)
def test_outputs_that_do_not_fit(run_cut: Run, outputs: list[Any], told: list[str]) -> None:
    text = refused(run_cut, outputs)
    for words in told:
        assert words in text


def test_a_declared_list_with_a_row_missing(run_cut: Run) -> None:
    layout = Layout(outputs={"output": tokens()})
    assert "ubatch 1 had 2 tokens and returned 1 rows" in refused(run_cut, [["a", "b"], ["c"]], layout=layout)
    assert "list of rows" in refused(run_cut, [["a", "b"], "cd"], layout=layout)


def test_a_declared_output_without_rows(run_cut: Run) -> None:
    text = refused(run_cut, [{"loss": np.float64(1)}], layout=Layout(outputs={"loss": tokens()}))
    assert "output['loss'] is float64" in text
    text = refused(run_cut, [X[:2]], layout=Layout(outputs={"output": tokens(2)}))
    assert "axis=2 does not exist" in text


def test_rows_that_fit_tokens_and_requests_alike(run_cut: Run) -> None:
    layout = Layout(inputs={"1": query_start_loc()})
    with pytest.raises(OutputMismatchError, match=r"fit tokens and requests alike"):
        run_cut(
            lambda ids, starts: ids, np.arange(4), np.array([0, 1, 3, 4]), layout=layout,
            splitter="explicit", boundaries=[2],
        )  # fmt: skip
    with pytest.raises(OutputMismatchError, match=r"fit neither tokens nor requests"):
        run_cut(
            lambda ids, starts: ids[:2], np.arange(6), np.array([0, 1, 2, 6]), layout=layout,
            splitter="explicit", boundaries=[2],
        )  # fmt: skip


def test_a_trimmed_output_that_was_not_declared(run_cut: Run) -> None:
    wide = np.ones((4, 9))
    layout = Layout(inputs={"0": tokens(trim=1)}, lengths=lambda args, kwargs: [3, 3, 3, 3])
    with pytest.raises(OutputMismatchError, match=r"tokens\(trim=1\)"):
        run_cut(lambda part: part, wide, layout=layout, splitter="even", num_ubatches=2)
    declared = Layout(inputs=layout.inputs, outputs={"output": tokens(trim=1)}, lengths=layout.lengths)
    result = run_cut(lambda part: part, wide, layout=declared, splitter="even", num_ubatches=2)
    np.testing.assert_array_equal(result, np.pad(np.ones((4, 3)), ((0, 0), (0, 6))))


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (np.full((4, 3), 7.0), "out has shape (4, 3) but the result has (4, 2)"),
        (np.full((4, 2), 7, "f4"), "out has dtype float32 but the result has float64"),
        ({"a": np.full((4, 2), 7.0)}, "out is a dict"),
        ("file.npy", "out is a str"),
        (lambda shape, like: np.full(3, 7.0), "out has shape (3,)"),
    ],
    ids=["shape", "dtype", "tree", "text", "function"],
)
def test_out_that_cannot_take_the_result(run_cut: Run, out: Any, told: str) -> None:
    with pytest.raises((ArgumentTypeError, ArgumentValueError)) as caught:
        run_cut(lambda part: part, X, out=out, splitter="even", num_ubatches=2)
    assert told in str(caught.value)
    if isinstance(out, np.ndarray):
        assert (out == 7).all()


def test_one_wrong_leaf_of_out_leaves_the_others_unwritten(run_cut: Run) -> None:
    out = {"a": np.full((4, 2), 7.0), "b": np.full((4, 9), 7.0)}
    with pytest.raises(ArgumentValueError, match=r"out\['b'\] has shape"):
        run_cut(lambda part: {"a": part, "b": part}, X, out=out, splitter="even", num_ubatches=2)
    assert (out["a"] == 7).all()
    with pytest.raises(ArgumentValueError, match="another structure"):
        run_cut(lambda part: {"a": part}, X, out=out, splitter="even", num_ubatches=2)


def test_out_that_is_read_only(run_cut: Run) -> None:
    out = np.zeros((4, 2))
    out.flags.writeable = False
    with pytest.raises(ArgumentValueError, match="read-only"):
        run_cut(lambda part: part, X, out=out, splitter="even", num_ubatches=2)


def test_the_next_call_works_after_an_error(run_cut: Run) -> None:
    refused(run_cut, [X[:2], X[:1]])
    np.testing.assert_array_equal(run_cut(lambda part: part, X, splitter="even", num_ubatches=2), X)
