"""What an array given as `out` must be: nothing of a row is lost on the way into it, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.binding.rules import Layout, collect, reduce, replicate, tokens
from microbatch.errors import ArgumentTypeError, ArgumentValueError

Run = Callable[..., Any]
X = np.arange(32.0).reshape(16, 2)
FOUR: dict[str, Any] = {"splitter": "even", "num_ubatches": 4}


def over_five(x: np.ndarray) -> Any:
    return np.ma.masked_greater(x, 5)


@pytest.mark.parametrize("mask", ["none", "of its own", "shared"])
@pytest.mark.parametrize("packed", [False, True])
def test_masks_go_with_their_rows(run_cut: Run, mask: str, packed: bool) -> None:
    shared = np.ones((16, 2), bool)
    out = np.ma.array(
        np.zeros((16, 2)), mask={"none": False, "of its own": shared.copy(), "shared": shared}[mask]
    )
    if mask == "none":
        out = np.ma.array(np.zeros((16, 2)))
    layout = Layout(lengths=lambda args, kwargs: [1, 2] * 8) if packed else None
    run_cut(over_five, X, out=out, layout=layout, splitter="packed" if packed else "even", num_ubatches=4)
    np.testing.assert_array_equal(np.ma.getmaskarray(out), X > 5)
    np.testing.assert_array_equal(out.filled(-1), over_five(X).filled(-1))


def test_rows_without_a_mask_take_the_mask_away(run_cut: Run) -> None:
    out = np.ma.masked_all((16, 2))
    run_cut(lambda x: x + 1, X, out=out, **FOUR)
    assert not np.ma.getmaskarray(out).any()
    np.testing.assert_array_equal(out.data, X + 1)


def test_a_mask_that_keeps_rows_out_is_refused(run_cut: Run) -> None:
    out = np.ma.masked_all((16, 2))
    out.harden_mask()
    with pytest.raises(ArgumentValueError, match=r"out has a hard mask, .* soften_mask\(\)"):
        run_cut(lambda x: x + 1, X, out=out, **FOUR)


class Metres(np.ndarray):
    """Numbers with a unit."""


def test_what_a_row_has_besides_numbers_needs_a_place(run_cut: Run) -> None:
    with pytest.raises(ArgumentTypeError, match=r"out is of class ndarray but the result is a MaskedArray"):
        run_cut(over_five, X, out=np.zeros((16, 2)), **FOUR)
    with pytest.raises(ArgumentTypeError, match=r"out\['a'\] is of class ndarray but the result is a Metres"):
        run_cut(lambda x: {"a": x.view(Metres)}, X, out={"a": np.zeros((16, 2))}, **FOUR)
    out = np.zeros((16, 2)).view(Metres)
    run_cut(lambda x: x.view(Metres) + 1, X, out=out, **FOUR)
    np.testing.assert_array_equal(np.asarray(out), X + 1)


@pytest.mark.parametrize("kind", [np.ndarray, np.matrix, np.recarray])
def test_plain_numbers_go_into_arrays_of_any_class(run_cut: Run, kind: Any) -> None:
    out = np.zeros((16, 2)).view(kind)
    assert run_cut(lambda x: x + 1, X, out=out, **FOUR) is out
    np.testing.assert_array_equal(np.asarray(out), X + 1)


def test_records_and_objects_go_as_they_are(run_cut: Run) -> None:
    kind = np.dtype([("a.x", "f8"), ("b", "i4")])
    records, objects = np.zeros(16, kind), np.empty(16, object)

    def function(x: np.ndarray) -> Any:
        made = np.zeros(len(x), kind)
        made["a.x"], made["b"] = x[:, 0], 7
        return made, np.array([{"row": row} for row in x[:, 0]], object)

    run_cut(function, X, out=(records, objects), **FOUR)
    np.testing.assert_array_equal(records["a.x"], X[:, 0])
    assert [entry["row"] for entry in objects] == X[:, 0].tolist()


@pytest.mark.parametrize(
    ("dtype", "told"),
    [([("c.x", "f8")], "a.x"), (">f8", "float64"), ("f4", "float64"), ("O", "float64"), ("M8[s]", "float64")],
    ids=["names", "byte order", "width", "object", "time"],
)
def test_dtypes_that_differ_in_anything_are_refused(run_cut: Run, dtype: Any, told: str) -> None:
    def function(x: np.ndarray) -> Any:
        return x[:, 0].copy().view([("a.x", "f8")]) if told == "a.x" else x[:, 0]

    with pytest.raises(ArgumentValueError, match="out has dtype"):
        run_cut(function, X, out=np.zeros(16, dtype), **FOUR)


MEAN = reduce(lambda values, weights: np.average(values, weights=weights))


@pytest.mark.parametrize(
    ("function", "layout", "out", "remedy"),
    [
        (lambda x: {"h": x, "n": np.float64(3)}, None, np.zeros(()), "pass None in its place"),
        (lambda x: {"h": x, "n": x.mean()}, Layout(outputs={"n": MEAN}), np.zeros(()), "pass None"),
        (lambda x: {"h": x, "n": x}, Layout(outputs={"n": collect()}), np.zeros((16, 2)), "pass None"),
        (lambda x: {"h": x, "n": X}, Layout(outputs={"n": replicate()}), np.zeros((16, 2)), "pass None"),
    ],
    ids=["number", "reduced", "collected", "constant"],
)
def test_an_array_that_no_rows_go_to_is_refused(
    run_cut: Run, function: Any, layout: Any, out: Any, remedy: str
) -> None:
    place = np.full((16, 2), -1.0)
    with pytest.raises(
        ArgumentValueError, match=rf"out\['n'\] is .* has no rows that go to an array; {remedy}"
    ):
        run_cut(function, X, out={"h": place, "n": out}, layout=layout, **FOUR)
    assert (place == -1).all()
    result = run_cut(function, X, out={"h": place, "n": None}, layout=layout, **FOUR)
    assert result["h"] is place
    np.testing.assert_array_equal(place, X)


def test_an_array_without_axes_is_no_place_for_a_constant(run_cut: Run) -> None:
    with pytest.raises(
        ArgumentValueError, match=r"out is float64 of shape \(\) but output has no rows .* call without out="
    ):
        run_cut(lambda x: np.array(3.0), X, out=np.zeros(()), **FOUR)


def test_a_list_takes_no_rows(run_cut: Run) -> None:
    layout = Layout(outputs={"output": tokens()})
    with pytest.raises(ArgumentTypeError, match="out is a list; pass an array"):
        run_cut(lambda x: [1] * len(x), X, out=[None] * 16, layout=layout, **FOUR)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.mark.torch
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("out", ["numpy", "torch", "torch by columns"])
@pytest.mark.parametrize("returned", ["numpy", "torch"])
@pytest.mark.parametrize("given", ["numpy", "torch"])
def test_arrays_of_two_frameworks_on_the_host(
    torch: Any, given: str, returned: str, out: str, packed: bool
) -> None:
    x = X if given == "numpy" else torch.from_numpy(X)
    place = np.zeros((16, 2)) if out == "numpy" else torch.zeros(16, 2, dtype=torch.float64)
    place = place if out != "torch by columns" else torch.zeros(2, 16, dtype=torch.float64).T

    def function(part: Any) -> Any:
        rows = part * 2 + 1
        if given == returned:
            return rows
        return rows.numpy() if returned == "numpy" else torch.from_numpy(rows)

    how: dict[str, Any] = {"layout": Layout(lengths=lambda args, kwargs: [2, 1] * 8)} if packed else {}
    with microbatch.wrap(function, num_ubatches=4, splitter="packed" if packed else "even", **how) as wrapped:
        assert wrapped(x, out=place) is place
    np.testing.assert_array_equal(np.asarray(place), X * 2 + 1)


@pytest.mark.torch
def test_a_tensor_that_numpy_cannot_see_takes_no_rows_of_numpy(torch: Any) -> None:
    out = torch.zeros(16, 2, dtype=torch.float64, requires_grad=True)
    with (
        microbatch.wrap(lambda x: x + 1, num_ubatches=4, backend="cpu") as wrapped,
        pytest.raises(
            ArgumentTypeError, match="out is a torch array on cpu and takes no rows of a numpy array"
        ),
    ):
        wrapped(X, out=out)
    assert not out.any()


@pytest.mark.torch
@pytest.mark.parametrize("leaf", [True, False])
def test_autograd_would_not_see_what_is_written(torch: Any, leaf: bool) -> None:
    out = torch.zeros(16, 2, dtype=torch.float64, requires_grad=True)
    with microbatch.wrap(lambda x: x + 1, num_ubatches=4) as wrapped:
        with pytest.raises(ArgumentValueError, match=r"autograd records out .* \.detach\(\)"):
            wrapped(torch.from_numpy(X), out=out if leaf else out * 2)
        with torch.no_grad():
            wrapped(torch.from_numpy(X), out=out)
    np.testing.assert_array_equal(out.detach().numpy(), X + 1)


@pytest.mark.torch
def test_a_tensor_without_memory_is_refused(torch: Any) -> None:
    with microbatch.wrap(lambda x: x + 1, num_ubatches=4) as wrapped, pytest.raises(TypeError):
        wrapped(torch.from_numpy(X), out=torch.zeros(16, 2, dtype=torch.float64, device="meta"))
