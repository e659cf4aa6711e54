"""One leaf of a caller's `out`: what it must be, and how rows get into it.

Invariant: rows are put into memory by a view of it, and into anything else by item assignment. A slice of a
file's dataset or of a table's column is a copy: whoever fills that has written nothing.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from microbatch.arrays.extents import host_view
from microbatch.arrays.looks import along, describe, framework_of
from microbatch.arrays.memory import on_host
from microbatch.binding.leaf_parts import Rows
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.extend.protocols import Backend
from microbatch.gathering.item_rows import ItemRows
from microbatch.gathering.out_checks import check_array, check_writable, is_memory
from microbatch.gathering.out_memory import OutMemory
from microbatch.options.raised import text_of
from microbatch.turns.one_at_a_time import OneAtATime


class Put(Protocol):
    """Something that rows can be put into."""

    def put(self, rows: slice | Rows, part: Any, axis: int) -> None:
        """Write `part` to `rows` along `axis`."""


class SharedByLeaves(Struct, frozen=True, kw_only=True):
    """What all leaves of one `out` share."""

    backend: Backend
    """What copies rows."""
    memory: OutMemory
    """What the step reads, and the leaves so far."""
    line: OneAtATime
    """For what only one thread may write to."""


class GivenLeaf:
    """An array of the caller, or a function that makes it; `name` is what messages call it: `out['h']`."""

    def __init__(self, leaf: Any, name: str, around: SharedByLeaves) -> None:
        self.leaf = leaf
        self.name = name
        self._around = around
        self._in_place: int | None = None
        """The axis along which it has the rows of an input in the very same place; None where it has not."""
        self._target: Put | None = None

    def check(self) -> None:
        """Refuse, before any call, what cannot be written to whatever the output is."""
        if self.leaf is None or callable(self.leaf):
            return
        check_writable(self.leaf, self.name, self._around.backend)
        self._in_place = self._around.memory.claim(self.leaf, self.name)

    def check_place(self, unit: str, axis: int) -> None:
        """Refuse an input's own memory for rows that are put together otherwise than the input is cut."""
        if self._in_place is not None and (unit, axis) != ("tokens", self._in_place):
            raise ArgumentValueError(
                f"{self.name} overlaps an input that is cut by tokens along axis {self._in_place}, and the"
                f" result has its {unit} along axis {axis}; pass an array of its own"
            )

    def __call__(self, shape: tuple[int, ...], like: Any) -> Any:
        """The array for a result of `shape` with the dtype of `like`; raises as `check_array` does."""
        array = self._made(shape, like) if callable(self.leaf) else self.leaf
        check_array(array, shape, like, self.name)
        self._target = self._way_into(array, like)
        return array

    def put(self, rows: slice | Rows, part: Any, axis: int) -> None:
        """Write `part` to `rows` of the array along `axis`; `__call__` came before."""
        assert self._target is not None, "rows came before their place"
        self._target.put(rows, part, axis)

    def _made(self, shape: tuple[int, ...], like: Any) -> Any:
        """The array that the caller's function makes; an input of the step is none, not even in place."""
        array, around = self.leaf(shape, like), self._around
        check_writable(array, self.name, around.backend, wanted=(shape, like))
        if around.memory.claim(array, self.name) is not None:
            raise ArgumentValueError(f"{self.name} is an input of the step; return an array of its own")
        return array

    def _way_into(self, array: Any, like: Any) -> Put:
        if is_memory(array, self._around.backend):
            if isinstance(array, np.ma.MaskedArray) and isinstance(like, np.ma.MaskedArray):
                _make_mask(array)
            return MemoryRows(array, like, self.name, self._around.backend)
        return ItemRows(array, self.name, self._around.line)


class MemoryRows:
    """Memory of which slices are views."""

    def __init__(self, array: Any, like: Any, name: str, backend: Backend) -> None:
        """`like` is an output as it will come."""
        seen = None if framework_of(array) == framework_of(like) else host_view(array)
        self._array = array if seen is None else seen
        self._name = name
        self._backend = backend

    def put(self, rows: slice | Rows, part: Any, axis: int) -> None:
        """Write `part` to `rows` along `axis`."""
        array = self._array
        try:
            if isinstance(array, np.ndarray) and not isinstance(part, np.ndarray):
                array[along(axis, rows)] = on_host(part)
            elif isinstance(rows, slice):
                self._backend.copy(array[rows if axis == 0 else along(axis, rows)], part)
            else:
                self._backend.scatter(array, rows, part, axis)
        except (AttributeError, TypeError, ValueError) as error:
            if framework_of(array) == framework_of(part):
                raise
            raise ArgumentTypeError(
                f"{self._name} is {describe(array)} and takes no rows of {describe(part)} ({text_of(error)});"
                " pass an array of the output's framework, or one of NumPy"
            ) from error


def _make_mask(array: Any) -> None:
    """Give a masked array without a mask one: a slice would get a mask of its own."""
    masked: Any = np.ma  # its functions carry no annotations; to name it imports it, which takes 8 ms
    if array.mask is masked.nomask:
        array.mask = masked.make_mask_none(array.shape, array.dtype)
