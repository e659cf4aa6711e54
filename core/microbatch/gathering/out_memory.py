"""The memory of a caller's `out`, beside the inputs and beside itself.

Invariant: no row is written where a later part still reads, or where another row goes. An `out` may be an
input only where each part reads exactly the rows that it writes: the same start, the same step from row to
row, as many rows, cut and put together along one axis. Where rows are packed in another order the inputs are
copies already. Everything else that shares a byte is refused, whatever the size of the parts, a step of one
part included. Memory that the function reaches by another way than its arguments cannot be seen.

Rejected: copying an input that overlaps, as NumPy's `out` does, since that may be as large as the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbatch.arrays.extents import Extent, extent_of, same_rows
from microbatch.arrays.looks import is_array
from microbatch.arrays.trees import leaves_of
from microbatch.binding.batch import Batch
from microbatch.errors import ArgumentValueError


class OutMemory:
    """What one step reads and writes; leaves of `out` are told to it one by one."""

    def __init__(self, batch: Batch, names: Sequence[str]) -> None:
        """`names` are the parameter names of the function, for messages."""
        self._batch = batch
        self._names = names
        self._inputs: list[tuple[int, Any, Extent, int | None]] | None = None
        self._given: list[tuple[str, Any, Extent]] = []

    def claim(self, array: Any, name: str) -> int | None:
        """The axis along which `array` has the rows of an input in their very place; None where it has not.

        Raises ArgumentValueError where a row would be written over something that is still needed.
        """
        extent = extent_of(array)
        if extent.overlaps_itself():
            raise ArgumentValueError(
                f"{name} has entries that are one and the same memory, so rows would be written over each"
                " other; pass an array with a place for each entry, such as a copy of it"
            )
        entry = (name, array, extent)
        self._given.append(entry)  # before the comparison: of two threads at least one sees the other's
        for other in tuple(self._given):
            if other is not entry and _shared(entry, other):
                raise ArgumentValueError(
                    f"{name} overlaps {other[0]}; pass an array of its own for each output"
                )
        axes = {self._axis_in(entry, index, leaf, read, axis) for index, leaf, read, axis in self._read()}
        axes.discard(None)
        if len(axes) > 1:
            raise ArgumentValueError(
                f"{name} is an input that is cut along several axes; pass an array of its own"
            )
        return axes.pop() if axes else None

    def _axis_in(
        self, entry: tuple[str, Any, Extent], index: int, leaf: Any, read: Extent, axis: int | None
    ) -> int | None:
        """The axis along which it is in the place of this input, None where it is apart from it."""
        name, array, extent = entry
        both = extent.shared_with(read)
        if both is not None and axis is not None and same_rows(*both, axis):
            return axis
        if both is not None or _one_thing(array, leaf):
            called = self._batch.name(index, self._names)
            raise ArgumentValueError(
                f"{name} overlaps {called}, so a part would read what another has written; pass an array of"
                f" its own, or a copy of {called}"
            )
        return None

    def _read(self) -> list[tuple[int, Any, Extent, int | None]]:
        """The arrays among the inputs, each with its number, its bytes and the axis of its tokens."""
        if self._inputs is None:
            self._inputs = [
                (index, array, extent_of(array), axis if array is leaf else None)
                for index, (leaf, axis) in enumerate(self._batch.token_axes())
                for array in _arrays_in(leaf)
            ]
        return self._inputs


def _arrays_in(leaf: Any) -> list[Any]:
    """The leaf itself, or the arrays of a list of them; lists of texts have millions of entries."""
    if is_array(leaf):
        return [leaf]
    listed = isinstance(leaf, (list, tuple)) and len(leaf) > 0 and not isinstance(leaf[0], (str, bytes))
    return [entry for entry in leaves_of(leaf) if is_array(entry)] if listed else []


def _shared(first: tuple[str, Any, Extent], second: tuple[str, Any, Extent]) -> bool:
    return first[2].shared_with(second[2]) is not None or _one_thing(first[1], second[1])


def _one_thing(first: Any, second: Any) -> bool:
    """Whether both are the same array in the same file or store, for those that tell no address."""
    if first is second:
        return 0 not in first.shape and not extent_of(first).spaces
    place = _stored_at(first)
    return place is not None and place == _stored_at(second)


def _stored_at(array: Any) -> tuple[str, ...] | None:
    """Where the array is kept, in the two ways in which libraries for array files say so."""
    store = getattr(array, "store_path", None)
    if store is not None:
        return (str(store),)
    file = getattr(getattr(array, "file", None), "filename", None)
    return None if file is None else (str(file), str(getattr(array, "name", "")))
