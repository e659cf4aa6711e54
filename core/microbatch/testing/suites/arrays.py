"""Arrays: making, copying, taking and writing rows, as NumPy does it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from microbatch.testing.properties import prop
from microbatch.testing.suites.base import BackendChecks

SIZES = st.lists(st.integers(0, 4), min_size=1, max_size=3)


class ArrayChecks(BackendChecks):
    """What gathering and staging rely on."""

    @prop(shape=SIZES, data=st.data())
    def check_empty_has_shape_dtype_and_owner(self, shape: list[int], data: Any) -> None:
        """`empty` gives the shape asked for with the dtype of `like`, and the backend owns it."""
        backend = self.make_backend()
        dtype = data.draw(st.sampled_from(self.dtypes))
        like = self.make_array(backend, np.zeros((2, 3), dtype))
        made = backend.empty(shape, like)
        assert tuple(made.shape) == tuple(shape)
        assert made.dtype == like.dtype
        assert backend.owns(made)

    @prop(rows=st.integers(0, 6), low=st.integers(0, 6), high=st.integers(0, 6))
    def check_copy_writes_a_slice_and_nothing_else(self, rows: int, low: int, high: int) -> None:
        """`copy` into rows of an array leaves the other rows alone."""
        backend = self.make_backend()
        low, high = min(low, high, rows), min(max(low, high), rows)
        values, others = self.numbers(rows), self.numbers(rows, start=1000)
        destination, source = self.make_buffer(backend, values), self.make_array(backend, others)
        backend.copy(destination[low:high], source[low:high])
        expected = values.copy()
        expected[low:high] = others[low:high]
        self.assert_values(backend, destination, expected)

    @prop(sizes=st.lists(st.integers(0, 4), min_size=1, max_size=4), axis=st.integers(0, 1))
    def check_concatenate_is_numpys(self, sizes: list[int], axis: int) -> None:
        """`concatenate` along either axis, empty parts included."""
        backend = self.make_backend()
        parts = [self.numbers(size, 3, start=100 * index) for index, size in enumerate(sizes)]
        if axis:
            parts = [np.ascontiguousarray(part.T) for part in parts]
        joined = backend.concatenate([self.make_array(backend, part) for part in parts], axis)
        self.assert_values(backend, joined, np.concatenate(parts, axis))

    @prop(rows=st.integers(1, 6), axis=st.integers(0, 1), data=st.data())
    def check_take_is_numpys(self, rows: int, axis: int, data: Any) -> None:
        """`take` in any order, repeats and none included; the result is no view."""
        backend = self.make_backend()
        indices = data.draw(st.lists(st.integers(0, rows - 1), max_size=8))
        values = self.numbers(rows, 3) if axis == 0 else np.ascontiguousarray(self.numbers(rows, 3).T)
        array = self.make_buffer(backend, values)
        taken = backend.take(array, indices, axis)
        self.add_one(array)
        self.assert_values(backend, taken, values.take(np.array(indices, np.intp), axis))

    @prop(order=st.permutations(range(5)), count=st.integers(0, 5), axis=st.integers(0, 1))
    def check_scatter_is_the_inverse_of_take(self, order: list[int], count: int, axis: int) -> None:
        """`scatter` writes row i of the source to row indices[i], and no other."""
        backend = self.make_backend()
        indices = order[:count]
        target, rows = self.numbers(5), self.numbers(count, start=1000)
        expected = target.copy()
        expected[np.array(indices, np.intp)] = rows
        if axis:
            target, rows, expected = (np.ascontiguousarray(a.T) for a in (target, rows, expected))
        destination = self.make_buffer(backend, target)
        backend.scatter(destination, indices, self.make_array(backend, rows), axis)
        self.assert_values(backend, destination, expected)

    def check_it_owns_its_arrays_and_nothing_else(self) -> None:
        """`owns` knows its own arrays, and answers for anything."""
        backend = self.make_backend()
        assert backend.owns(self.make_array(backend, self.numbers(2)))
        for other in (None, 3, "text", [1, 2], object()):
            assert not backend.owns(other)

    def check_plain_arrays_are_supported(self) -> None:
        """`unsupported` has no objection to an ordinary array; nothing records gradients of one."""
        backend = self.make_backend()
        array = self.make_array(backend, self.numbers(2))
        assert backend.unsupported(array) is None
        assert backend.differentiable([array]) is False
        assert backend.differentiable([]) is False
