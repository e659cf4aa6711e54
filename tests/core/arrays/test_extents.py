"""Which bytes arrays cover: compared with the set of their bytes, entry by entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from microbatch.arrays.extents import Extent, extent_of, has_address, host_view, same_rows

SIZE = 40


def entry_bytes(array: np.ndarray) -> dict[tuple[int, ...], range]:
    """The addresses of each entry."""
    start = array.__array_interface__["data"][0]
    found = {}
    for place in np.ndindex(array.shape):
        first = start + sum(i * step for i, step in zip(place, array.strides, strict=True))
        found[place] = range(first, first + array.itemsize)
    return found


def all_bytes(array: np.ndarray) -> set[int]:
    return {byte for entry in entry_bytes(array).values() for byte in entry}


@st.composite
def slices(draw: st.DrawFn, base: np.ndarray) -> np.ndarray:
    """A view of `base` by a slice of each axis, perhaps backwards, perhaps transposed."""
    view = base
    for axis, size in enumerate(base.shape):
        start, stop = sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size))))
        part = slice(start, stop, draw(st.sampled_from((1, 2, 3))))
        view = view[(slice(None),) * axis + (part,)]
        view = np.flip(view, axis) if draw(st.booleans()) else view
    return view.T if draw(st.booleans()) else view


@st.composite
def strided(draw: st.DrawFn, base: np.ndarray) -> np.ndarray:
    """A view with drawn strides, whose entries may share bytes."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    strides = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    offset = draw(st.integers(0, 10))
    return as_strided(base[offset:], shape, [step * base.itemsize for step in strides])


BASES = [np.zeros(SIZE), np.zeros((8, 5)), np.zeros((4, 5, 2), np.int16), np.zeros((5, 6), order="F")]
views = st.sampled_from(BASES).flatmap(lambda base: st.tuples(slices(base), slices(base)))
folded = st.tuples(strided(np.zeros(SIZE)), strided(np.zeros(SIZE)))
FLAT = np.zeros(SIZE)
rows = st.one_of(views, st.tuples(strided(FLAT), strided(FLAT)))


@given(views)
def test_arrays_share_bytes_where_one_byte_is_in_both(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    shared = extent_of(first).shared_with(extent_of(second))
    assert (shared is not None) == bool(all_bytes(first) & all_bytes(second))


@given(views)
def test_slices_never_overlap_themselves(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert not extent_of(pair[0]).overlaps_itself()


@given(folded)
def test_what_shares_bytes_with_itself_is_always_found(pair: tuple[np.ndarray, np.ndarray]) -> None:
    array = pair[0]
    if len(all_bytes(array)) < array.size * array.itemsize:
        assert extent_of(array).overlaps_itself()


@given(rows, st.integers(0, 2))
def test_same_rows_share_bytes_with_their_own_row_only(
    pair: tuple[np.ndarray, np.ndarray], axis: int
) -> None:
    first, second = pair
    found = same_rows(first, second, axis)
    if axis < first.ndim and first.shape == second.shape and first.strides == second.strides:
        assert found == (first.ctypes.data == second.ctypes.data)
    if not found or extent_of(first).overlaps_itself() or extent_of(second).overlaps_itself():
        return
    assert first.shape[axis] == second.shape[axis]
    for place, mine in entry_bytes(first).items():
        for other, theirs in entry_bytes(second).items():
            assert place[axis] == other[axis] or not set(mine) & set(theirs)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.zeros((4, 3)), lambda a: a[:, :2]),
        (np.zeros((4, 3)), lambda a: a[:, 0]),
        (np.zeros((4, 3))[::-1], lambda a: a[:, :1]),
        (np.zeros((4, 3), order="F"), lambda a: a),
    ],
    ids=["columns", "one column", "backwards", "by columns"],
)
def test_rows_of_a_table_and_of_its_first_columns_are_the_same(first: np.ndarray, second: Any) -> None:
    assert same_rows(first, second(first), 0)
    assert same_rows(second(first), first, 0)
    assert not same_rows(first, second(first)[1:], 0)


def test_rows_that_lie_between_each_other_are_not_the_same() -> None:
    base = np.zeros(6)
    by_columns, by_rows = as_strided(base, (2, 2), (16, 24)), as_strided(base, (2, 2), (16, 8))
    assert not extent_of(by_columns).overlaps_itself()
    assert not extent_of(by_rows).overlaps_itself()
    assert set(entry_bytes(by_columns)[0, 1]) & set(entry_bytes(by_rows)[1, 1])
    assert not same_rows(by_columns, by_rows, 0)


class Described:
    """An array on a device, as the interface that CuPy and Numba use describes it."""

    def __init__(self, address: int, shape: tuple[int, ...], strides: tuple[int, ...] | None = None) -> None:
        self.shape = shape
        self.dtype = np.dtype("f4")
        self.__cuda_array_interface__ = {
            "data": (address, False), "shape": shape, "strides": strides, "typestr": "<f4", "version": 3,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("second", "shared"),
    [((0x1000 + 60, (4,)), True), ((0x1000 + 64, (4,)), False), ((0x1000, (4,), (-4,)), True)],
)
def test_addresses_of_a_device_are_compared_and_never_read(second: Any, shared: bool) -> None:
    found = extent_of(Described(0x1000, (4, 4))).shared_with(extent_of(Described(*second)))
    assert (found is not None) == shared


class Nothing:
    """An array that tells no address."""

    shape = (4,)
    dtype = np.dtype("f4")


class Refusing(Nothing):
    """One whose framework raises when it is asked, as torch does for tensors without memory."""

    def data_ptr(self) -> int:
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")


class Labelled(Nothing):
    """An array with names for its axes, around one of NumPy."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data


@pytest.mark.parametrize(
    "array", [Nothing(), Refusing(), np.zeros((0, 3))], ids=["none", "refusing", "empty"]
)
def test_where_no_byte_is_told_nothing_is_claimed(array: Any) -> None:
    assert extent_of(array) == Extent(())
    assert not extent_of(array).overlaps_itself()
    assert not has_address(Nothing())


def test_the_array_behind_labels_is_seen() -> None:
    base = np.zeros(8)
    assert extent_of(Labelled(base[:4])).shared_with(extent_of(base[3:])) is not None
    assert extent_of(Labelled(base[:4])).shared_with(extent_of(base[4:])) is None


def test_read_only_arrays_and_masked_ones_are_seen() -> None:
    base = np.ma.zeros(8)
    view = base.data[:4]
    view.flags.writeable = False
    assert extent_of(base).shared_with(extent_of(view)) is not None


def test_two_maps_of_one_file_are_compared_by_their_place_in_it(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.arange(20.0))
    first, second = np.load(path, mmap_mode="r"), np.load(path, mmap_mode="r+")
    raw = np.memmap(path, np.float64, "r", offset=128 + 8 * 15, shape=(5,))
    assert extent_of(first[:10]).shared_with(extent_of(second[9:])) is not None
    assert extent_of(np.asarray(first[2:10])).shared_with(extent_of(second[10:])) is None
    assert extent_of(raw).shared_with(extent_of(second[:16])) is not None
    assert extent_of(raw).shared_with(extent_of(second[:15])) is None
    np.save(tmp_path / "y.npy", np.arange(20.0))
    other = np.load(tmp_path / "y.npy", mmap_mode="r")
    assert extent_of(first).shared_with(extent_of(other)) is None
    shared = extent_of(first).shared_with(extent_of(second))
    assert shared is not None
    assert same_rows(*shared, 0)
    path.unlink()
    assert extent_of(first).shared_with(extent_of(first[3:])) is not None


class OnTheHost:
    """An array on the host that gives NumPy its memory, or a copy of it."""

    device, dtype, itemsize = "cpu", np.dtype("f8"), 8

    def __init__(self, *, copies: bool) -> None:
        self.values, self.copies = np.zeros((4, 2)), copies
        self.shape, self.strides = self.values.shape, self.values.strides

    def data_ptr(self) -> int:
        return self.values.ctypes.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values.copy() if self.copies else self.values


def test_a_copy_is_no_view() -> None:
    assert host_view(OnTheHost(copies=False)) is not None
    assert host_view(OnTheHost(copies=True)) is None
    fixed = OnTheHost(copies=False)
    fixed.values.flags.writeable = False
    assert host_view(fixed) is None


@pytest.mark.torch
def test_tensors_are_seen_in_bytes() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    base = np.zeros((6, 4), np.float32)
    tensor = torch.from_numpy(base)
    assert extent_of(tensor[:, 1:3]).shared_with(extent_of(base[:, 2:])) is not None
    assert extent_of(tensor[:, 1:3]).shared_with(extent_of(base[:, 3:])) is None
    assert extent_of(torch.zeros(1, 4).expand(3, 4)).overlaps_itself()
    assert not extent_of(tensor.T[::2]).overlaps_itself()
    assert has_address(tensor)
    view = host_view(tensor.T)
    assert view is not None
    assert view.base is not None
    view[0, 1] = 7
    assert base[1, 0] == 7
    assert host_view(torch.zeros(2, requires_grad=True)) is None
    assert host_view(torch.zeros(2, dtype=torch.bfloat16)) is None
    assert extent_of(torch.zeros(3, device="meta")) == Extent(())
