"""`out` in files and tables, with the libraries themselves: what is read after closing is the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.binding.rules import Layout, tokens
from microbatch.errors import ArgumentTypeError, ArgumentValueError

X = np.arange(600.0).reshape(100, 6)
SCHEDULES = ("sequential", "parallel", "streamed", "pingpong")


class H5File:
    """Datasets in one file, with and without chunks."""

    def __init__(self, folder: Path) -> None:
        self.h5py = pytest.importorskip("h5py", reason="h5py is not installed")
        self.path = folder / "out.h5"

    @contextmanager
    def opened(self, **arrays: Any) -> Iterator[dict[str, Any]]:
        """Datasets like `arrays`, by name."""
        with self.h5py.File(self.path, "w") as file:
            yield {
                name: file.create_dataset(name, like.shape, like.dtype, chunks=chunks)
                for chunks, (name, like) in zip((None, True), arrays.items(), strict=False)
            }

    def read(self, name: str) -> np.ndarray:
        with self.h5py.File(self.path, "r") as file:
            return np.asarray(file[name])


class ZarrStore:
    """Arrays in one folder, with chunks that no part of a step ends at."""

    def __init__(self, folder: Path) -> None:
        self.zarr = pytest.importorskip("zarr", reason="zarr is not installed")
        self.path = folder / "out.zarr"

    @contextmanager
    def opened(self, **arrays: Any) -> Iterator[dict[str, Any]]:
        group = self.zarr.open_group(self.path, mode="w")
        yield {
            name: group.create_array(name, shape=like.shape, dtype=like.dtype, chunks=(7, *like.shape[1:]))
            for name, like in arrays.items()
        }

    def read(self, name: str) -> np.ndarray:
        return np.asarray(self.zarr.open_group(self.path, mode="r")[name][...])


STORES: dict[str, Callable[[Path], Any]] = {"h5py": H5File, "zarr": ZarrStore}


@pytest.fixture(params=STORES)
def store(request: Any, tmp_path: Path) -> Any:
    return STORES[request.param](tmp_path)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("count", [1, 16])
def test_the_result_is_in_the_file(store: Any, schedule: str, count: int) -> None:
    with (
        store.opened(y=X) as arrays,
        microbatch.wrap(np.negative, num_ubatches=count, schedule=schedule) as wrapped,
    ):
        assert wrapped(X, out=arrays["y"]) is arrays["y"]
    np.testing.assert_array_equal(store.read("y"), -X)


def test_parts_side_by_side_keep_each_others_rows(store: Any) -> None:
    options: dict[str, Any] = {"schedule": "parallel", "thread_pool_size": 8, "num_ubatches": 64}
    with microbatch.wrap(lambda x: x * 2, **options) as wrapped:
        for _ in range(5):
            with store.opened(y=X) as arrays:
                wrapped(X, out=arrays["y"])
            np.testing.assert_array_equal(store.read("y"), X * 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_packed_rows_are_where_they_belong_in_the_file(store: Any, schedule: str) -> None:
    layout = Layout(lengths=lambda args, kwargs: (np.arange(100) * 7 % 6 + 1).tolist())
    options: dict[str, Any] = {"layout": layout, "splitter": "packed", "schedule": schedule}
    with store.opened(y=X) as arrays, microbatch.wrap(lambda x: x + 1, num_ubatches=8, **options) as wrapped:
        wrapped(X, out=arrays["y"])
        assert wrapped.last_report is not None
    np.testing.assert_array_equal(store.read("y"), X + 1)


def test_a_tree_of_arrays_along_two_axes(store: Any) -> None:
    layout = Layout(outputs={"b": tokens(1)})
    with (
        store.opened(a=X[:, 0] > 1, b=X.T) as arrays,
        microbatch.wrap(lambda x: {"a": x[:, 0] > 5, "b": x.T * 2}, num_ubatches=9, layout=layout) as wrapped,
    ):
        assert wrapped(X, out=arrays) is arrays
    np.testing.assert_array_equal(store.read("a"), X[:, 0] > 5)
    np.testing.assert_array_equal(store.read("b"), X.T * 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_part_that_ran_in_smaller_parts_is_in_the_file(store: Any, schedule: str) -> None:
    def function(x: np.ndarray) -> np.ndarray:
        if len(x) > 6:
            raise MemoryError("too many rows")
        return x - 1

    with store.opened(y=X) as arrays, microbatch.wrap(function, num_ubatches=3, schedule=schedule) as wrapped:
        wrapped(X, out=arrays["y"])
        assert wrapped.last_report is not None
        assert wrapped.last_report.oom_sizes
    np.testing.assert_array_equal(store.read("y"), X - 1)


@pytest.mark.torch
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tensors_go_into_the_file(store: Any, schedule: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with (
        store.opened(y=X) as arrays,
        microbatch.wrap(torch.neg, num_ubatches=5, schedule=schedule) as wrapped,
    ):
        wrapped(torch.from_numpy(X), out=arrays["y"])
    np.testing.assert_array_equal(store.read("y"), -X)


def test_wrong_sizes_and_dtypes_are_refused_before_a_row(store: Any) -> None:
    with store.opened(y=X) as arrays, microbatch.wrap(lambda x: x, num_ubatches=4) as wrapped:
        with pytest.raises(ArgumentValueError, match="out has dtype float64 but the result has float32"):
            wrapped(X.astype("f4"), out=arrays["y"])
        with pytest.raises(
            ArgumentValueError, match=r"out has shape \(100, 6\) but the result has \(99, 6\)"
        ):
            wrapped(X[:99], out=arrays["y"])
    assert not store.read("y").any()


def test_an_array_of_a_file_is_no_out_for_itself(store: Any) -> None:
    with store.opened(y=X) as arrays:
        arrays["y"][...] = X
        with (
            microbatch.wrap(lambda x: x + 1, num_ubatches=4, backend="cpu") as wrapped,
            pytest.raises(ArgumentValueError, match="out overlaps x"),
        ):
            wrapped(arrays["y"], out=arrays["y"])
    np.testing.assert_array_equal(store.read("y"), X)


def test_a_file_that_is_open_for_reading_is_refused(tmp_path: Path) -> None:
    file, zarr = H5File(tmp_path), ZarrStore(tmp_path)
    with file.opened(y=X):
        pass
    with zarr.opened(y=X):
        pass
    with file.h5py.File(file.path, "r") as reading, microbatch.wrap(np.negative, num_ubatches=4) as wrapped:
        for out in (reading["y"], zarr.zarr.open_group(zarr.path, mode="r")["y"]):
            with pytest.raises(ArgumentValueError, match="out is read-only; open it for writing"):
                wrapped(X, out=out)


@pytest.fixture
def pandas() -> Any:
    return pytest.importorskip("pandas", reason="pandas is not installed")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("index", ["as it is", "backwards", "numbers", "texts"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_column_is_filled_by_position(pandas: Any, schedule: str, index: str, packed: bool) -> None:
    labels = {"as it is": None, "backwards": range(99, -1, -1), "numbers": np.arange(100) / 7}
    out = pandas.Series(np.zeros(100), index=labels.get(index, [f"row {i * 3 % 100}" for i in range(100)]))
    how: dict[str, Any] = {"layout": Layout(lengths=lambda args, kwargs: [1, 6, 3, 2] * 25)} if packed else {}
    how["splitter"] = "packed" if packed else "even"
    with microbatch.wrap(lambda x: x.sum(1), num_ubatches=7, schedule=schedule, **how) as wrapped:
        assert wrapped(X, out=out) is out
    np.testing.assert_array_equal(out.to_numpy(), X.sum(1))


def test_a_column_is_told_from_the_memory_it_shares(pandas: Any) -> None:
    values = np.arange(100.0)
    column = pandas.Series(values, copy=False)
    with microbatch.wrap(lambda x: x + 1, num_ubatches=4) as wrapped:
        with pytest.raises(ArgumentValueError, match="out overlaps x"):
            wrapped(values[::-1], out=column)
        wrapped(values, out=column)
    np.testing.assert_array_equal(column.to_numpy(), np.arange(100.0) + 1)


def test_columns_that_are_returned_are_written(pandas: Any, tmp_path: Path) -> None:
    store = H5File(tmp_path)
    layout = Layout(inputs={"x": tokens()}, outputs={"output": tokens()})
    with microbatch.wrap(lambda x: pandas.Series(x[:, 0] * 2), num_ubatches=4, layout=layout) as wrapped:
        for out in (np.zeros(100), pandas.Series(np.zeros(100), index=range(100, 0, -1))):
            assert wrapped(X, out=out) is out
            np.testing.assert_array_equal(np.asarray(out), X[:, 0] * 2)
        with store.opened(y=X[:, 0]) as arrays:
            wrapped(X, out=arrays["y"])
    np.testing.assert_array_equal(store.read("y"), X[:, 0] * 2)


def test_a_table_is_refused(pandas: Any) -> None:
    table = pandas.DataFrame(X)
    with microbatch.wrap(lambda x: x + 1, num_ubatches=4) as wrapped:
        with pytest.raises(ArgumentTypeError, match="out is a DataFrame"):
            wrapped(X, out=table)
        with pytest.raises(
            ArgumentTypeError, match="out is a DataFrame, a table; pass an array, or a column"
        ):
            wrapped(X, out=table.rename(columns={0: "dtype"}))
    np.testing.assert_array_equal(table.to_numpy(), X)


def test_a_column_of_another_kind_of_dtype_is_refused(pandas: Any) -> None:
    for dtype in ("Float64", "category", "string"):
        out = pandas.Series(["1"] * 100).astype(dtype)
        with (
            microbatch.wrap(lambda x: x[:, 0], num_ubatches=4) as wrapped,
            pytest.raises(ArgumentValueError, match="out has dtype"),
        ):
            wrapped(X, out=out)
