"""`out` that shares memory with inputs or itself: as if the inputs were read first, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

import microbatch
from microbatch.binding.rules import Layout, query_start_loc, replicate, requests, tokens
from microbatch.errors import ArgumentValueError
from microbatch.testing import AdversarialBackend
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.strategies import work_orders

Run = Callable[..., Any]
ROWS = 12


def places(size: int) -> st.SearchStrategy[slice]:
    """`size` of twice as many places, next to each other or every other one, forwards or backwards."""
    return st.one_of(
        st.integers(0, size).map(lambda start: slice(start, start + size)),
        st.integers(0, 1).map(lambda start: slice(start, 2 * size, 2)),
        st.integers(size, 2 * size - 1).map(lambda start: slice(start, start - size, -1)),
    )


def refused(run_cut: Run, *args: Any, **how: Any) -> str:
    """The error's text, after no call."""
    called: list[int] = []

    def function(*parts: Any) -> Any:
        called.append(1)
        return parts[0] * 2

    with pytest.raises(ArgumentValueError) as caught:
        run_cut(function, *args, splitter="even", num_ubatches=3, **how)
    assert not called
    return str(caught.value)


@given(
    columns=st.sampled_from([None, 1, 3]),
    fortran=st.booleans(),
    data=st.data(),
    count=st.integers(1, ROWS),
)
def test_views_of_one_array_are_as_copies_or_refused(
    run_cut: Run, columns: int | None, fortran: bool, data: Any, count: int
) -> None:
    shape = (2 * ROWS,) if columns is None else (2 * ROWS, 2 * columns)
    base = np.arange(np.prod(shape), dtype=np.float64).reshape(shape, order="F" if fortran else "C")
    wide = () if columns is None else (columns,)
    read = base[(data.draw(places(ROWS)), *[data.draw(places(size)) for size in wide])]
    out = base[(data.draw(places(ROWS)), *[data.draw(places(size)) for size in wide])]
    order = data.draw(st.permutations(range(count)))
    expected, called = read.copy() * 3 + 1, []

    def function(part: Any) -> Any:
        called.append(1)
        return part * 3 + 1

    how: dict[str, Any] = {"splitter": "even", "num_ubatches": count, "order": lambda indices: order}
    apart = not np.shares_memory(read, out)
    same = read.ctypes.data == out.ctypes.data and read.strides == out.strides
    event("apart" if apart else "same" if same else "overlapping")
    try:
        assert run_cut(function, read, out=out, **how) is out
    except ArgumentValueError as error:
        assert not apart, "refused without a reason"
        assert not same, "an array is in its own place"
        assert "out overlaps args[0]" in str(error)
        assert not called
    else:
        np.testing.assert_array_equal(out, expected)


def test_the_error_names_both_whatever_the_size_of_the_parts() -> None:
    base = np.arange(20.0)
    for count in (1, 4):
        with (
            microbatch.wrap(lambda a: a * 1, num_ubatches=count) as wrapped,
            pytest.raises(ArgumentValueError, match=r"^out overlaps a, .* or a copy of a$"),
        ):
            wrapped(base[:16], out=base[4:20])
    np.testing.assert_array_equal(base, np.arange(20.0))


@pytest.mark.parametrize("schedule", ["sequential", "parallel", "streamed", "pingpong"])
def test_an_array_may_be_its_own_out(schedule: str) -> None:
    x = np.arange(64.0).reshape(16, 4)
    with microbatch.wrap(lambda a: a * 2, num_ubatches=8, schedule=schedule) as wrapped:
        assert wrapped(x, out=x) is x
        np.testing.assert_array_equal(x, np.arange(64.0).reshape(16, 4) * 2)
        wrapped(x, out=x)
    np.testing.assert_array_equal(x, np.arange(64.0).reshape(16, 4) * 4)


@pytest.mark.parametrize("columns", [slice(0, 2), 0], ids=["columns", "one column"])
def test_the_first_columns_of_an_input_may_be_out(run_cut: Run, columns: Any) -> None:
    x = np.arange(32.0).reshape(8, 4)
    expected = x.copy()[:, columns] + x.sum(1, keepdims=isinstance(columns, slice))

    def function(part: np.ndarray) -> Any:
        return part[:, columns] + part.sum(1, keepdims=isinstance(columns, slice))

    backwards: dict[str, Any] = {"order": lambda indices: indices[::-1]}
    run_cut(function, x, out=x[:, columns], splitter="even", num_ubatches=8, **backwards)
    np.testing.assert_array_equal(x[:, columns], expected)


def test_packed_rows_may_go_into_the_array_they_came_from(run_cut: Run) -> None:
    x = np.arange(24.0).reshape(6, 4)
    expected = x * 2 + 1
    layout = Layout(lengths=lambda args, kwargs: [4, 1, 3, 2, 4, 1])
    run_cut(lambda part: part * 2 + 1, x, out=x, layout=layout, splitter="packed", limit=8)
    np.testing.assert_array_equal(x, expected)


def test_what_every_part_reads_whole_is_no_place_for_rows(run_cut: Run) -> None:
    layout = Layout(inputs={"1": replicate()})
    rows = np.ones((13, 4))
    text = refused(run_cut, np.ones((9, 4)), rows[:4], out=rows[3:12], layout=layout, names=("x", "weights"))
    assert "out overlaps args[1]" in text


def test_an_input_that_is_cut_along_one_axis_takes_no_rows_of_another(run_cut: Run) -> None:
    x = np.arange(36.0).reshape(6, 6)
    before = x.copy()
    layout = Layout(inputs={"0": tokens(1)}, outputs={"output": tokens()})
    with pytest.raises(
        ArgumentValueError, match="cut by tokens along axis 1, and the result has its tokens along"
    ):
        run_cut(lambda part: part.T.copy(), x, out=x, layout=layout, splitter="even", num_ubatches=3)
    np.testing.assert_array_equal(x, before)
    layout = Layout(inputs={"0": tokens(1)}, outputs={"output": tokens(1)})
    run_cut(lambda part: part + 1, x, out=x, layout=layout, splitter="even", num_ubatches=3)
    np.testing.assert_array_equal(x, before + 1)


def test_a_request_that_two_parts_read_is_no_place_for_its_result(run_cut: Run) -> None:
    ids, starts, scale = np.arange(6.0), np.array([0, 4, 6]), np.array([2.0, 3.0])
    layout = Layout(inputs={"1": query_start_loc(), "2": requests()}, outputs={"output": requests()})
    with pytest.raises(ArgumentValueError, match=r"out overlaps args\[2\]"):
        run_cut(
            lambda ids, starts, scale: scale * 2, ids, starts, scale, out=scale, layout=layout,
            splitter="even", num_ubatches=3,
        )  # fmt: skip


def test_an_array_in_a_list_of_rows_is_seen(run_cut: Run) -> None:
    base = np.arange(20.0)
    layout = Layout(inputs={"1": tokens()})
    assert "out overlaps args[1]" in refused(
        run_cut, np.arange(4.0), [base[:3], base[3:6], base[6:9], base[9:12]], out=base[5:9], layout=layout
    )


@pytest.mark.parametrize(
    "out",
    [
        as_strided(np.zeros(2), (6, 2), (0, 8)),
        as_strided(np.zeros(12), (6, 2), (8, 8)),
        as_strided(np.zeros(12), (6, 2), (16, 0)),
    ],
    ids=["one row for all", "rows that overlap", "one column for all"],
)
def test_an_out_without_a_place_for_each_row_is_refused(run_cut: Run, out: np.ndarray) -> None:
    assert "out has entries that are one and the same memory" in refused(run_cut, np.ones((6, 2)), out=out)


def test_two_outputs_in_one_place_are_refused(run_cut: Run) -> None:
    base = np.zeros(12)
    text = refused(run_cut, np.ones(6), out={"a": base[:6], "b": base[5:11]})
    assert text == "out['b'] overlaps out['a']; pass an array of its own for each output"
    out = {"a": base[:6], "b": base[6:]}
    run_cut(lambda x: {"a": x, "b": -x}, np.ones(6), out=out, splitter="even", num_ubatches=3)
    np.testing.assert_array_equal(base, [1] * 6 + [-1] * 6)


def test_a_function_that_gives_the_place_is_held_to_the_same(run_cut: Run) -> None:
    base = np.arange(12.0)
    how: dict[str, Any] = {"splitter": "even", "num_ubatches": 3}
    with pytest.raises(ArgumentValueError, match="out overlaps args"):
        run_cut(lambda x: x, base[:6], out=lambda shape, like: base[1:7], **how)
    with pytest.raises(ArgumentValueError, match="return an array of its own"):
        run_cut(lambda x: x, base, out=lambda shape, like: base, **how)
    with pytest.raises(ArgumentValueError, match=r"out\[1\] overlaps out\[0\]"):
        run_cut(lambda x: (x, x), np.ones(12), out=lambda shape, like: base, **how)


def test_two_maps_of_one_file_are_one_memory(run_cut: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.arange(20.0))
    read, out = np.load(path, mmap_mode="r"), np.load(path, mmap_mode="r+")
    assert "out overlaps args[0]" in refused(run_cut, read[:16], out=out[4:])
    run_cut(lambda x: x + 1, read, out=out, splitter="even", num_ubatches=4)
    np.testing.assert_array_equal(np.load(path), np.arange(20.0) + 1)


@pytest.mark.torch
@pytest.mark.parametrize("how", ["tensors", "out is of NumPy", "input is of NumPy"])
def test_tensors_and_arrays_of_one_memory_are_seen(how: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    base = np.arange(20.0)
    tensor = torch.from_numpy(base)
    read = base[:16] if how == "input is of NumPy" else tensor[:16]
    out = base if how == "out is of NumPy" else tensor
    with microbatch.wrap(lambda a: a * 2, num_ubatches=4) as wrapped:
        with pytest.raises(ArgumentValueError, match="out overlaps a"):
            wrapped(read, out=out[4:])
        assert base[5] == 5
        wrapped(read, out=out[:16])
    np.testing.assert_array_equal(base, [*np.arange(16.0) * 2, 16, 17, 18, 19])


@pytest.mark.torch
def test_an_expanded_tensor_takes_no_result() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with (
        microbatch.wrap(lambda a: a * 2, num_ubatches=4) as wrapped,
        pytest.raises(ArgumentValueError, match="one and the same memory"),
    ):
        wrapped(torch.ones(4, 2), out=torch.zeros(1, 2).expand(4, 2))


@given(
    order=work_orders(),
    schedule=st.sampled_from(["sequential", "pingpong", "streamed"]),
    count=st.integers(1, 5),
    packed=st.booleans(),
)
def test_an_array_of_a_device_is_its_own_out(order: Any, schedule: str, count: int, packed: bool) -> None:
    device, rows = AdversarialBackend(order), np.arange(16.0).reshape(8, 2)
    options: dict[str, Any] = {"schedule": schedule, "num_ubatches": count, "policy": "fixed"}
    if packed:
        layout = Layout(lengths=lambda args, kwargs: [1 + row % 2 for row in range(args[0].shape[0])])
        options |= {"layout": layout, "splitter": "packed"}
    with microbatch.wrap(
        lambda x: x * 2 + 1, backend=device.name, plugins=GivenBackends(device), **options
    ) as wrapped:
        x = device.array(rows)
        assert wrapped(x, out=x) is x
        np.testing.assert_array_equal(np.asarray(x), rows * 2 + 1)
        with pytest.raises(ArgumentValueError, match="out overlaps x"):
            wrapped(x[:6], out=x[1:7])
