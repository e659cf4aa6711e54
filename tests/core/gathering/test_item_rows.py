"""`out` that is no memory: datasets whose slices are copies, columns, chunks; on fakes, which tell more."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.binding.rules import Layout, tokens
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.gathering.item_rows import ItemRows
from microbatch.testing import AdversarialBackend
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.strategies import work_orders
from microbatch.turns.one_at_a_time import OneAtATime
from microbatch.turns.runtime import ThreadRuntime
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier

Run = Callable[..., Any]
X = np.arange(32.0).reshape(16, 2)


class Dataset:
    """Slices of it are copies, and it takes nothing but slices, as arrays in files do."""

    def __init__(self, shape: tuple[int, ...] = (16, 2), dtype: Any = "f8") -> None:
        self.values = np.full(shape, -1, dtype)
        self.shape, self.dtype = shape, self.values.dtype
        self.written: list[int] = []
        """First rows of what was written, in the order of the writing."""

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.values[key].copy()

    def __setitem__(self, key: Any, values: Any) -> None:
        key = key if isinstance(key, tuple) else (key,)
        assert all(isinstance(part, slice) for part in key), "an index of another kind may mean another thing"
        assert type(values) is np.ndarray
        self.written.append(key[-1].start)
        self.values[key] = values


class Forgetful(Dataset):
    """Takes rows and does not keep them, as a slice that is a copy does."""

    def __setitem__(self, key: Any, values: Any) -> None:
        pass


class Rounding(Dataset):
    """Keeps fewer digits than it is given, as a compressed store may."""

    def __setitem__(self, key: Any, values: Any) -> None:
        super().__setitem__(key, np.round(values))


class Lazy(Dataset):
    """Remembers what it is given and writes it later, or when it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[Any, Any]] = []

    def __setitem__(self, key: Any, values: Any) -> None:
        self.waiting.append((key, values))

    def flush(self) -> None:
        for key, values in self.waiting:
            self.values[key] = values

    def __getitem__(self, key: Any) -> np.ndarray:
        self.flush()
        return super().__getitem__(key)


class Column(Dataset):
    """Takes rows by their labels; by position only at `iloc`."""

    @property
    def iloc(self) -> Dataset:
        place = Dataset(self.shape)
        place.values, place.written = self.values, self.written
        return place

    def __setitem__(self, key: Any, values: Any) -> None:
        raise AssertionError("a label is no position")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values


class Readable(Dataset):
    """One that NumPy can read."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values


class Table(Column):
    """Rows and columns with names, and an attribute for each of them."""


class Chunks(Dataset):
    """Reads a chunk, changes some rows and writes it back; the schedule may turn in between."""

    SIZE = 4

    def __init__(self, runtime: DetRuntime, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self._runtime = runtime

    def __setitem__(self, key: Any, values: Any) -> None:
        for start in range(0, self.shape[0], self.SIZE):
            low, high = max(start, key.start), min(start + self.SIZE, key.stop)
            if low < high:
                chunk = self.values[start : start + self.SIZE].copy()
                self._runtime.point("chunk was read")
                chunk[low - start : high - start] = values[low - key.start : high - key.start]
                self.values[start : start + self.SIZE] = chunk


@pytest.mark.parametrize("make", [Dataset, Lazy])
@pytest.mark.parametrize("schedule", ["sequential", "parallel", "streamed", "pingpong"])
@pytest.mark.parametrize("count", [1, 5])
def test_rows_are_written_to_what_has_no_views(make: Any, schedule: str, count: int) -> None:
    out = make()
    with microbatch.wrap(lambda x: x + 1, num_ubatches=count, schedule=schedule) as wrapped:
        assert wrapped(X, out=out) is out
    np.testing.assert_array_equal(out[:], X + 1)


def test_a_column_is_written_by_position(run_cut: Run) -> None:
    out = Column((16,))
    run_cut(lambda part: part[:, 0] + 1, X, out=out, splitter="even", num_ubatches=3)
    np.testing.assert_array_equal(out.values, X[:, 0] + 1)


@given(count=st.integers(1, 9), axis=st.integers(0, 1), data=st.data())
def test_any_axis_and_any_order_of_parts(run_cut: Run, count: int, axis: int, data: Any) -> None:
    order = data.draw(st.permutations(range(count)))
    x = np.arange(27.0).reshape(9, 3) if axis == 0 else np.arange(27.0).reshape(3, 9)
    out = Dataset(x.shape)
    layout = Layout(inputs={"0": tokens(axis)}, outputs={"output": tokens(axis)})
    run_cut(
        lambda part: part * 2, x, out=out, layout=layout, splitter="even", num_ubatches=count,
        order=lambda indices: order,
    )  # fmt: skip
    np.testing.assert_array_equal(out.values, x * 2)


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=12), limit=st.integers(6, 20))
def test_packed_rows_are_written_where_they_belong(run_cut: Run, lengths: list[int], limit: int) -> None:
    rows = len(lengths)
    x = np.arange(rows * 6.0).reshape(rows, 6)
    out, layout = Dataset((rows, 6)), Layout(lengths=lambda args, kwargs: lengths)
    run_cut(lambda part: part - 1, x, out=out, layout=layout, splitter="packed", limit=limit)
    np.testing.assert_array_equal(out.values, x - 1)
    assert len(out.written) == len(set(out.written)), "rows were written twice"


def test_rows_next_to_each_other_are_written_at_once() -> None:
    out = Dataset((8,))
    leaf = ItemRows(out, "out", OneAtATime(ThreadRuntime()))
    leaf.put(np.array([6, 1, 2, 5, 0]), np.array([6.0, 1, 2, 5, 0]), 0)
    assert out.written == [0, 5]
    np.testing.assert_array_equal(out.values, [0, 1, 2, -1, -1, 5, 6, -1])


def test_nothing_is_written_for_a_batch_of_no_rows() -> None:
    out = Dataset((0, 2))
    with microbatch.wrap(lambda x: x + 1) as wrapped:
        assert wrapped(X[:0], out=out) is out
    assert out.written == []


@pytest.mark.parametrize("make", [Forgetful, Rounding])
@pytest.mark.parametrize("count", [1, 4])
def test_what_does_not_keep_its_rows_is_an_error(make: Any, count: int) -> None:
    out, told = make(), rf"out is a {make.__name__} that does not keep the rows .* copy the result"
    with (
        microbatch.wrap(lambda x: x + 0.25, num_ubatches=count) as wrapped,
        pytest.raises(ArgumentValueError, match=told),
    ):
        wrapped(X, out=out)


def test_values_that_are_equal_to_nothing_count_as_kept(run_cut: Run) -> None:
    out = Dataset((4,))
    run_cut(lambda part: part * np.nan, np.ones(4), out=out, splitter="even", num_ubatches=2)
    assert np.isnan(out.values).all()


def test_a_store_that_writes_later_has_values_of_its_own(run_cut: Run) -> None:
    out, buffer = Lazy(), np.empty((4, 2))

    def function(part: np.ndarray) -> np.ndarray:
        return np.add(part, 1, out=buffer)

    run_cut(function, X, out=out, splitter="even", num_ubatches=4)
    out.flush()
    np.testing.assert_array_equal(out.values, X + 1)


def test_an_error_of_the_store_says_where_it_came_from(run_cut: Run) -> None:
    class Full(Dataset):
        def __setitem__(self, key: Any, values: Any) -> None:
            if key.start:
                raise OSError("no space left on device")
            super().__setitem__(key, values)

    with pytest.raises(OSError, match="no space left") as caught:
        run_cut(lambda part: part, X, out=Full(), splitter="even", num_ubatches=4)
    assert caught.value.__notes__ == ["while rows 4 to 8 of the result were written to out"]


def test_chunks_keep_the_rows_of_all_threads() -> None:
    def program(runtime: DetRuntime) -> None:
        out = Chunks(runtime, (6,))
        leaf = ItemRows(out, "out", OneAtATime(runtime))
        parts = [slice(0, 2), slice(2, 3), slice(3, 6)]

        def put(rows: slice) -> None:
            leaf.put(rows, np.arange(6.0)[rows], 0)

        tasks = [runtime.spawn(lambda rows=rows: put(rows), name=str(rows)) for rows in parts[1:]]  # type: ignore[misc]
        put(parts[0])
        for task in tasks:
            task.join()
        np.testing.assert_array_equal(out.values, np.arange(6.0))

    explore_all(program, preemptions=2, limit=500, carrier=fastest_carrier()).check()
    explore(program, range(100), carrier=fastest_carrier()).check()


def test_parts_that_run_out_of_memory_are_written_once(run_cut: Run) -> None:
    out = Dataset()

    def function(part: np.ndarray) -> np.ndarray:
        if len(part) > 3:
            raise MemoryError("too many rows")
        return part + 1

    with microbatch.wrap(function, num_ubatches=2, schedule="parallel") as wrapped:
        wrapped(X, out=out)
    np.testing.assert_array_equal(out.values, X + 1)
    assert sorted(out.written) == [0, 8]


@given(
    order=work_orders(),
    schedule=st.sampled_from(["sequential", "pingpong", "streamed"]),
    host=st.booleans(),
    graphs=st.booleans(),
    count=st.integers(1, 5),
)
def test_rows_come_from_a_device_in_any_order_of_its_work(
    order: Any, schedule: str, host: bool, graphs: bool, count: int
) -> None:
    device = AdversarialBackend(order)
    options: dict[str, Any] = {
        "schedule": schedule,
        "graphs": graphs,
        "num_ubatches": count,
        "policy": "fixed",
    }
    with microbatch.wrap(
        lambda x: x * 2 + 1, backend=device.name, plugins=GivenBackends(device), **options
    ) as wrapped:
        for start in range(3):
            out, x = Dataset(), X + start
            wrapped(x if host else device.array(x), out=out)
            np.testing.assert_array_equal(out.values, x * 2 + 1)


def test_a_function_may_give_such_a_place(run_cut: Run) -> None:
    made: list[Dataset] = []

    def make(shape: tuple[int, ...], like: Any) -> Dataset:
        made.append(Dataset(shape, like.dtype))
        return made[-1]

    result = run_cut(lambda x: (x, x[:, 0] > 3), X, out=make, splitter="even", num_ubatches=3)
    np.testing.assert_array_equal(made[0].values, X)
    np.testing.assert_array_equal(result[1].values, X[:, 0] > 3)


def test_outputs_that_are_no_arrays_of_numpy_are_written(run_cut: Run) -> None:
    def function(part: np.ndarray) -> Readable:
        made = Readable(part.shape)
        made.values[:] = part + 1
        return made

    for out in (np.zeros((16, 2)), Dataset()):
        run_cut(function, X, out=out, splitter="even", num_ubatches=3)
        np.testing.assert_array_equal(out[:], X + 1)


@pytest.mark.parametrize("make", [np.full, Dataset])
def test_outputs_that_cannot_be_read_are_refused(run_cut: Run, make: Any) -> None:
    out = np.full((16, 2), None) if make is np.full else Dataset((16, 2), object)
    with pytest.raises(ArgumentTypeError, match="cannot read the values of a Dataset"):
        run_cut(lambda part: Dataset(part.shape, object), X, out=out, splitter="even", num_ubatches=3)


class Unwritable:
    """An array that takes no items."""

    shape, dtype = (16, 2), np.dtype("f8")

    def __getitem__(self, key: Any) -> Any:
        return np.zeros(self.shape)[key]


class ReadOnly(Dataset):
    """As stores of chunks say it."""

    read_only = True


class InReadOnlyFile(Dataset):
    """As array files say it."""

    file = type("File", (), {"mode": "r", "filename": "x"})


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (Unwritable(), "out is a Unwritable, which takes no rows"),
        (ReadOnly(), "out is read-only; open it for writing"),
        (InReadOnlyFile(), "out is read-only"),
        (Table(), "out is a Table, a table; pass an array, or a column"),
        (object(), "out is a object; pass an array"),
        ({"a": np.zeros((16, 2)), "b": ReadOnly()}, r"out['b'] is read-only"),
        ({"a": "file.npy"}, r"out['a'] is a str; pass an array of the result's shape, or None where"),
        (np.float64(3), "out is read-only"),
        (np.broadcast_to(np.zeros(2), (16, 2)), "out is read-only"),
    ],
    ids=[
        "no items",
        "read-only store",
        "read-only file",
        "table",
        "no array",
        "leaf",
        "text",
        "number",
        "broadcast",
    ],
)
def test_what_cannot_be_written_is_refused_before_any_call(run_cut: Run, out: Any, told: str) -> None:
    called: list[int] = []
    with pytest.raises((ArgumentTypeError, ArgumentValueError)) as caught:
        run_cut(lambda part: called.append(1), X, out=out, splitter="even", num_ubatches=2)
    assert told in str(caught.value)
    assert not called


class Stored(Dataset):
    """One of two objects for the same array of a file."""

    def __init__(self, name: str, *, chunked: bool) -> None:
        super().__init__((16,))
        if chunked:
            self.store_path = f"file://{name}"
        else:
            self.file, self.name = type("File", (), {"mode": "r+", "filename": "x"}), name


@pytest.mark.parametrize("chunked", [False, True])
def test_an_array_of_a_file_is_no_out_for_itself(run_cut: Run, chunked: bool) -> None:
    first = Stored("/a", chunked=chunked)
    for out in (first, Stored("/a", chunked=chunked)):
        with pytest.raises(ArgumentValueError, match=r"out overlaps args\[0\]"):
            run_cut(lambda part: part, first, out=out, splitter="even", num_ubatches=2)
    other = Stored("/b", chunked=chunked)
    run_cut(lambda part: part, first, out=other, splitter="even", num_ubatches=2)
    np.testing.assert_array_equal(other.values, first.values)


def test_the_target_is_let_go_after_the_step() -> None:
    out = Dataset()
    with microbatch.wrap(lambda x: x + 1, num_ubatches=4, schedule="parallel") as wrapped:
        wrapped(X, out=out)
        gc.collect()
        assert not [held for held in gc.get_referrers(out) if isinstance(held, ItemRows)]
