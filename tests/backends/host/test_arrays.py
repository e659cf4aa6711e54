"""Rows of host arrays are written and read without converting, masks and subclasses included."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.host.memory import HostMemory

CPU = CpuBackend()
anything = npst.arrays(
    dtype=npst.scalar_dtypes(),
    shape=npst.array_shapes(min_dims=1, max_dims=3, max_side=4),
    elements=None,
)


@given(array=anything, data=st.data())
def test_rows_written_to_an_empty_array_in_parts_are_the_array(
    array: np.ndarray, data: st.DataObject
) -> None:
    axis = data.draw(st.integers(0, array.ndim - 1))
    cut = data.draw(st.integers(0, array.shape[axis]))
    result = CPU.empty(array.shape, array)
    for part in (slice(0, cut), slice(cut, None)):
        place = (slice(None),) * axis + (part,)
        CPU.copy(result[place], array[place])
    assert result.dtype == array.dtype and result.tobytes() == array.tobytes()


@given(array=anything, data=st.data())
def test_scatter_undoes_take(array: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, array.ndim - 1))
    order = data.draw(st.permutations(range(array.shape[axis])))
    result = CPU.empty(array.shape, array)
    CPU.scatter(result, order, CPU.take(array, order, axis), axis)
    assert result.tobytes() == array.tobytes()


@pytest.mark.parametrize("kind", [np.float64, np.int32, object])
def test_a_copy_never_converts(kind: type) -> None:
    destination = np.zeros(3, np.float32)
    with pytest.raises(TypeError):
        CPU.copy(destination, np.ones(3, kind))
    assert not destination.any()


def test_a_copy_may_change_the_byte_order() -> None:
    destination = np.zeros(3, ">i4")
    CPU.copy(destination, np.array([1, 2, 3], "<i4"))
    assert destination.tolist() == [1, 2, 3]


@given(mask=st.lists(st.booleans(), min_size=4, max_size=4))
def test_masks_travel_with_their_rows(mask: list[bool]) -> None:
    source: Any = np.ma.MaskedArray(np.arange(4), mask=mask)
    result = CPU.empty((4,), source)
    CPU.copy(result[:1], source[:1])
    CPU.copy(result[1:], source[1:])
    for made in (result, CPU.concatenate([source[:1], source[1:]], 0), CPU.take(source, range(4), 0)):
        assert np.ma.getmaskarray(made).tolist() == mask
        assert made.compressed().tolist() == source.compressed().tolist()


def test_objects_and_records_are_rows_too() -> None:
    objects = np.array([{"a": 1}, None, "x"], dtype=object)
    records = np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")])
    for array in (objects, records, records.view(np.recarray)):
        result = CPU.empty(array.shape, array)
        CPU.copy(result, array)
        assert CPU.unsupported(array) is None and type(result) is type(array)
        assert result.tolist() == array.tolist()


def test_the_axis_order_is_kept() -> None:
    like = np.asfortranarray(np.zeros((3, 4)))
    assert CPU.empty((5, 4), like).flags.f_contiguous
    assert CPU.empty((5, 4), np.zeros((3, 4))).flags.c_contiguous


def test_a_memory_mapped_input_gives_a_result_in_memory(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "rows", dtype=np.int32, mode="w+", shape=(4, 2))
    mapped[:] = np.arange(8).reshape(4, 2)
    result = CPU.empty((4, 2), mapped)
    CPU.copy(result, mapped)
    assert type(result) is np.ndarray and result.tolist() == mapped.tolist()
    CPU.copy(mapped[:2], result[2:])
    assert mapped[0].tolist() == [4, 5]


class Rows:
    """What a file format gives: shape, dtype and slices, and no array interface."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def __getitem__(self, where: Any) -> np.ndarray:
        return self._array[where]

    def __setitem__(self, where: Any, value: Any) -> None:
        self._array[where] = value


def test_anything_sliceable_is_owned_read_and_written() -> None:
    rows = Rows(np.arange(6).reshape(3, 2))
    assert CPU.owns(rows)
    assert CPU.take(rows, [2, 0], 0).tolist() == [[4, 5], [0, 1]]
    CPU.scatter(rows, [1], np.array([[9, 9]]), 0)
    CPU.copy(rows, rows[:] + 1)
    assert rows[:].tolist() == [[1, 2], [10, 10], [5, 6]]
    assert CPU.empty((2,), rows).dtype == rows.dtype


def test_what_is_elsewhere_or_no_array_is_not_owned() -> None:
    class OnDevice(Rows):
        device = "gpu:0"

    assert not CPU.owns(OnDevice(np.zeros(3)))
    for other in (None, 3, np.float32(3), [1, 2], "text", {"a": 1}):
        assert not CPU.owns(other)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_what_has_no_rows_to_cut_is_refused_with_a_remedy() -> None:
    assert "asarray" in str(CPU.unsupported(np.asmatrix(np.eye(2))))


def test_staging_and_transfers_are_plain_copies() -> None:
    source = np.arange(4)
    staged, there, back = CPU.staging((4,), source), CPU.empty_device((4,), source), CPU.empty((4,), source)
    stream = CPU.stream("copy_in")
    stream.submit(lambda: CPU.to_device(staged, source))
    stream.submit(lambda: CPU.to_device(there, staged))
    stream.submit(lambda: CPU.to_host(back, there))
    assert stream.synchronize(20) and back.tolist() == [0, 1, 2, 3]
    CPU.close()


def frames_of(call: Any) -> list[str]:
    """Names of the Python functions that run in `call`."""
    names: list[str] = []
    sys.setprofile(lambda frame, event, arg: names.append(frame.f_code.co_name) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names[1:]


def test_what_a_step_asks_for_each_part_is_one_frame() -> None:
    rows, result = np.ones((4, 2)), np.empty((4, 2))
    assert frames_of(lambda: CPU.copy(result[:2], rows[:2])) == ["copy"]
    assert frames_of(lambda: CPU.empty((4, 2), rows)) == ["empty"]
    assert frames_of(lambda: CPU.owns(rows)) == ["is_host_array"]
    assert frames_of(lambda: CPU.unsupported(rows)) == ["unsupported"]
    assert frames_of(lambda: CPU.differentiable([rows])) == ["differentiable"]
    backend = CpuBackend(HostMemory(fresh=60.0))
    backend.memory()
    assert frames_of(lambda: backend.memory()) == ["memory"]
