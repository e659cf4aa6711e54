"""One leaf of a caller's `out`: what it must be, and how rows get into it.

Invariant: rows are put into memory by a view of it, and into anything else by item assignment. A slice of a
file's dataset or of a table's column is a copy: whoever fills that has written nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from microbatch.arrays.extents import has_address, host_view
from microbatch.arrays.looks import along, class_of, describe, dtype_name, framework_of, is_array
from microbatch.arrays.memory import on_host
from microbatch.binding.leaf_parts import Rows
from microbatch.errors import ArgumentTypeError, ArgumentValueError
from microbatch.extend.protocols import Backend
from microbatch.gathering.item_rows import ItemRows
from microbatch.gathering.out_memory import OutMemory
from microbatch.turns.one_at_a_time import OneAtATime

_MASKED: Any = np.ma
"""Its functions carry no annotations."""
_PLAIN = (np.ndarray, np.matrix, np.recarray)
"""Classes that say nothing of a row besides its numbers."""


class Put(Protocol):
    """Something that rows can be put into."""

    def put(self, rows: slice | Rows, part: Any, axis: int) -> None:
        """Write `part` to `rows` along `axis`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all leaves of one `out` share."""

    backend: Backend
    """What copies rows."""
    memory: OutMemory
    """What the step reads, and the leaves so far."""
    line: OneAtATime
    """For what only one thread may write to."""


class GivenLeaf:
    """An array of the caller, or a function that makes it; `name` is what messages call it: `out['h']`."""

    def __init__(self, leaf: Any, name: str, around: Surroundings) -> None:
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
        _check_writable(self.leaf, self.name, self._around.backend)
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
        _check_writable(array, self.name, around.backend, wanted=(shape, like))
        if around.memory.claim(array, self.name) is not None:
            raise ArgumentValueError(f"{self.name} is an input of the step; return an array of its own")
        return array

    def _way_into(self, array: Any, like: Any) -> Put:
        if _is_memory(array, self._around.backend):
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
                f"{self._name} is {describe(array)} and takes no rows of {describe(part)} ({error}); pass an"
                " array of the output's framework, or one of NumPy"
            ) from error


def check_array(array: Any, shape: tuple[int, ...], like: Any, name: str) -> None:
    """Refuse an array that cannot take a result of `shape` with the class and dtype of `like`."""
    if not is_array(array):
        raise _no_array(array, name, (shape, like))
    if tuple(array.shape) != tuple(shape):
        raise ArgumentValueError(
            f"{name} has shape {tuple(array.shape)} but the result has {tuple(shape)}; pass that shape"
        )
    if not _same_dtype(array, like):
        raise ArgumentValueError(
            f"{name} has dtype {dtype_name(array)} but the result has {dtype_name(like)}; pass that dtype"
        )
    if isinstance(like, np.ndarray) and class_of(like) not in (*_PLAIN, class_of(array)):
        kind = class_of(like).__name__
        raise ArgumentTypeError(
            f"{name} is of class {type(array).__name__} but the result is a {kind}, which says more of a row"
            f" than its numbers; pass a {kind}"
        )


def _same_dtype(array: Any, like: Any) -> bool:
    """Whether both dtypes are one; of two frameworks, whether they have one name."""
    if isinstance(array.dtype, np.dtype) and isinstance(like.dtype, np.dtype):
        return bool(array.dtype == like.dtype)
    return array.dtype is like.dtype or dtype_name(array) == dtype_name(like)


def _check_writable(array: Any, name: str, backend: Backend, wanted: tuple[Any, Any] | None = None) -> None:
    """Refuse what is no array, what is read-only, and what loses rows that are written to it.

    `wanted` is the shape of the result and an array of its dtype, where they are known.
    """
    if not is_array(array):
        raise _no_array(array, name, wanted)
    if len(array.shape) == 2 and hasattr(array, "iloc"):
        kind = type(array).__name__
        raise ArgumentTypeError(f"{name} is a {kind}, a table; pass an array, or a column for each output")
    if _is_read_only(array):
        raise ArgumentValueError(f"{name} is read-only; open it for writing, or pass a copy of it")
    if not hasattr(type(array), "__setitem__") and not _is_memory(array, backend):
        raise ArgumentTypeError(f"{name} is a {type(array).__name__}, which takes no rows; pass an array")
    if isinstance(array, np.ma.MaskedArray) and array.hardmask:
        raise ArgumentValueError(
            f"{name} has a hard mask, which keeps rows out; call its soften_mask() before"
        )
    if getattr(array, "requires_grad", False) and backend.differentiable((array,)):
        raise ArgumentValueError(
            f"autograd records {name} and would not see what is written to it; pass its .detach(), or call"
            " under no_grad"
        )


def _no_array(value: Any, name: str, wanted: tuple[Any, Any] | None) -> ArgumentTypeError:
    size = "the result's shape" if wanted is None else f"shape {wanted[0]} and dtype {dtype_name(wanted[1])}"
    rowless = "" if name == "out" else ", or None where the output has no rows"
    return ArgumentTypeError(f"{name} is a {type(value).__name__}; pass an array of {size}{rowless}")


def _is_read_only(array: Any) -> bool:
    """Whether it says that it is, in the way of NumPy, of stores of chunks, or of array files."""
    writable = getattr(getattr(array, "flags", None), "writeable", True)
    mode = getattr(getattr(array, "file", None), "mode", None)
    return writable is False or getattr(array, "read_only", False) is True or mode == "r"


def _is_memory(array: Any, backend: Backend) -> bool:
    """Whether slices of `array` are views: NumPy's, a backend's own kind, or those that tell their address.

    A backend that owns NumPy's arrays owns whatever can be sliced on the host, memory or not.
    """
    if isinstance(array, np.ndarray):
        return True
    return has_address(array) or (backend.owns(array) and not backend.owns(np.empty(0)))


def _make_mask(array: Any) -> None:
    """Give a masked array without a mask one: a slice would get a mask of its own."""
    if array.mask is _MASKED.nomask:
        array.mask = _MASKED.make_mask_none(array.shape, array.dtype)
