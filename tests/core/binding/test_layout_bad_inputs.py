"""Inputs that cannot be cut: the error names the leaf, says what is wrong and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microbatch.binding.rules import (
    Layout,
    collect,
    per_ubatch,
    query_start_loc,
    reduce,
    replicate,
    requests,
    seq_lens,
    tokens,
)
from microbatch.errors import ArgumentTypeError, LayoutError, UncoveredArrayError
from tests.support.binding import bind

NAMES = ("ids", "mask")


def refused(backend: Any, *args: Any, layout: Layout | None = None, **kwargs: Any) -> str:
    with pytest.raises(LayoutError) as caught:
        bind(layout, args, kwargs, backend=backend, names=NAMES, strict=True)
    return str(caught.value)


def test_row_counts_that_differ(backend: Any) -> None:
    text = refused(backend, np.zeros(8), {"deep": [np.zeros((7, 2))]})
    assert "mask['deep'][0] has 7 rows but ids has 8" in text
    assert "declare 'mask.deep.0' replicate()" in text
    with pytest.raises(UncoveredArrayError):
        bind(None, (np.zeros(8), np.zeros(7)), {}, backend=backend, strict=True)


def test_a_row_that_is_shared(backend: Any) -> None:
    text = refused(backend, np.zeros((8, 2)), bias=np.zeros((1, 2)))
    assert "bias has 1 row but ids has 8" in text
    assert "'bias': replicate()" in text


@pytest.mark.parametrize("args", [(), ("text",), (b"raw", 3, None), (np.array(1.0),), ({},)])
def test_nothing_to_split(backend: Any, args: Any) -> None:
    text = refused(backend, *args)
    assert text.startswith("no argument is an array with rows, so there is nothing to split")


def test_a_generator(backend: Any) -> None:
    consumed: list[int] = []
    text = refused(backend, np.zeros(2), (consumed.append(n) for n in range(3)))
    assert "mask is a generator" in text
    assert not consumed


def test_a_string_that_was_declared(backend: Any) -> None:
    text = refused(backend, np.zeros(2), "mask", layout=Layout(inputs={"mask": tokens()}))
    assert "mask is a str" in text


def test_a_0_dimensional_array_that_was_declared(backend: Any) -> None:
    text = refused(backend, np.zeros(2), np.array(1), layout=Layout(inputs={"mask": tokens()}))
    assert "mask is 0-dimensional" in text


def test_an_undeclared_list_is_constant_and_a_declared_one_must_fit(backend: Any) -> None:
    text = refused(backend, np.zeros(2), [1, 2, 3], layout=Layout(inputs={"mask": tokens(), "ids": tokens()}))
    assert "mask has 3 tokens (axis 0) but ids says 2" in text


def test_a_list_of_starts_is_refused_and_not_replicated(backend: Any) -> None:
    layout = Layout(inputs={"mask": query_start_loc()})
    assert "mask is a list and cannot be cut by query_start_loc()" in refused(
        backend, np.zeros(2), [0, 1, 2], layout=layout
    )


def test_a_tree_that_contains_itself(backend: Any) -> None:
    cycle: list[Any] = [np.zeros(2)]
    cycle.append(cycle)
    assert "contain themselves" in refused(backend, cycle)
    assert "contain themselves" in refused(backend, cycle, layout=Layout(inputs={"mask": tokens()}))


def test_keys_that_are_not_strings_are_fine_and_named(backend: Any) -> None:
    assert "ids[3] has 3 rows but ids[2] has 2" in refused(backend, {2: np.zeros(2), 3: np.zeros(3)})


def test_a_container_that_hides_arrays(backend: Any) -> None:
    class Fields:
        def __init__(self) -> None:
            self.x = np.zeros(2)

    text = refused(backend, np.zeros(2), Fields())
    assert "mask.x has as many" in text
    assert "a Fields is not known as a container" in text
    layout = Layout(inputs={"mask": replicate()})
    bind(layout, (np.zeros(2), Fields()), {}, backend=backend, names=NAMES)


def test_arrays_that_the_backend_cannot_cut(backend: Any) -> None:
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1, 2], [3, 4]])
    assert "ids cannot be cut by rows" in refused(backend, matrix)
    assert "mask cannot be cut by rows" in refused(backend, np.zeros(2), matrix)


def test_an_axis_that_does_not_exist(backend: Any) -> None:
    for axis in (2, -3):
        text = refused(backend, np.zeros((2, 2)), layout=Layout(inputs={"ids": tokens(axis)}))
        assert f"ids has 2 dimensions, so axis={axis} does not exist" in text
    text = refused(backend, np.zeros(2), layout=Layout(inputs={"ids": tokens(trim=1)}))
    assert "trim=1" in text


class Strange:
    """An array of some other framework."""

    dtype = "strange32"

    def __init__(self, rows: int, device: str) -> None:
        self.shape = (rows,)
        self.device = device


@pytest.mark.bad_input(46)
def test_arrays_of_another_framework_or_device(backend: Any) -> None:
    text = refused(backend, Strange(2, "cuda:0"))
    assert "ids is a" in text
    assert "on cuda:0, which the backend 'cpu' cannot use" in text
    assert "cuda:0" in refused(backend, np.zeros(2), Strange(2, "cuda:0"))


class TwoDevices:
    """A backend that owns what is on device 0."""

    name = "device"

    def unsupported(self, array: Any) -> None:
        return None

    def owns(self, array: Any) -> bool:
        return bool(array.device == "device:0")


@pytest.mark.bad_input(45)
def test_mixed_devices_name_both() -> None:
    text = refused(TwoDevices(), Strange(2, "device:0"), Strange(2, "cpu"))
    assert "mask is a" in text
    assert "on cpu but ids is" in text
    assert "on device:0" in text


@pytest.mark.parametrize(
    ("starts", "told"),
    [
        ([3, 5], "mask[0] is 3"),
        ([0, 4, 2, 5], "mask decreases at index 2 (4 to 2)"),
        ([0, 3, 4], "ids has 5 tokens (axis 0) but mask says 4"),
        ([], "mask has shape (0,); a query_start_loc is 1-D"),
        ([[0, 5]], "mask has shape (1, 2); a query_start_loc is 1-D"),
        ([0.0, 5.0], "mask holds float64 and must hold integers"),
        ([0, 0, 0], "2 requests but 0 tokens"),
    ],
)
def test_starts_that_are_none(backend: Any, starts: Any, told: str) -> None:
    layout = Layout(inputs={"ids": tokens(), "mask": query_start_loc()})
    assert told in refused(backend, np.zeros(5), np.array(starts), layout=layout)


def test_sizes_that_could_be_tokens_or_requests(backend: Any) -> None:
    layout = Layout(inputs={"mask": query_start_loc()})
    text = refused(backend, np.zeros(2), np.array([0, 0, 2]), layout=layout)
    assert "as many tokens as requests" in text
    bind(layout, (np.zeros(2), np.array([0, 1, 2])), {}, backend=backend, names=NAMES)
    assert "4 tokens and 2 requests" in refused(backend, np.zeros(7), np.array([0, 1, 4]), layout=layout)


def test_fewer_tokens_than_requests(backend: Any) -> None:
    layout = Layout(inputs={"ids": tokens(), "mask": requests()})
    assert "5 tokens cannot cover 8 requests" in refused(backend, np.zeros(5), np.zeros(8), layout=layout)


def test_sequence_lengths_without_starts(backend: Any) -> None:
    layout = Layout(inputs={"ids": tokens(), "mask": seq_lens()})
    assert "mask is cut by where each request starts, which no leaf says" in refused(
        backend, np.zeros(5), np.zeros(2), layout=layout
    )


@pytest.mark.parametrize(
    ("lengths", "told"),
    [
        ("nothing", "lengths='nothing' names no argument"),
        (lambda args, kwargs: [1, 2], "lengths of shape (2,) for 3 requests"),
        (lambda args, kwargs: [1, -2, 3], "lengths[1] is -2; a length is 0 or more"),
        (lambda args, kwargs: [0.5, 1, 2], "lengths holds float64 and must hold integers"),
    ],
)
def test_lengths_that_do_not_fit(backend: Any, lengths: Any, told: str) -> None:
    assert told in refused(backend, np.zeros((3, 4)), layout=Layout(lengths=lengths))


def test_lengths_and_starts_together(backend: Any) -> None:
    layout = Layout(inputs={"mask": query_start_loc()}, lengths="ids")
    assert "both lengths and a query_start_loc" in refused(
        backend, np.zeros(2), np.array([0, 2]), layout=layout
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: Layout(inputs={"x": "tokens"}),  # type: ignore[dict-item]
        lambda: Layout(inputs={0: tokens()}),  # type: ignore[dict-item]
        lambda: Layout(inputs=tokens()),  # type: ignore[arg-type]
        lambda: Layout(inputs={"x": collect()}),
        lambda: Layout(outputs={"x": query_start_loc()}),
        lambda: Layout(outputs={"x": per_ubatch(print)}),
        lambda: Layout(lengths=3),  # type: ignore[arg-type]
        lambda: tokens("0"),  # type: ignore[arg-type]
        lambda: tokens(True),
        lambda: requests(trim=1.0),  # type: ignore[arg-type]
        lambda: per_ubatch(None),  # type: ignore[arg-type]
        lambda: reduce("sum"),  # type: ignore[arg-type]
    ],
    ids=[f"case{number}" for number in range(12)],
)
def test_layouts_that_cannot_be(make: Any) -> None:
    with pytest.raises(ArgumentTypeError):
        make()
