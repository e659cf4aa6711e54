"""Rows that are put together at the end, since their result cannot be written into: lists, tables, strings.

Invariant: as in `row_sink.py`. Every part is kept until the end, so these take twice the memory of the result
for a moment. What parts have in common is compared as each comes, so nothing is converted when they are
joined. Arrays that cannot be written (their backend `SupportsJoins`) and arrays of texts, which are as wide
as the widest, come here too.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

import numpy as np

from microbatch.arrays.looks import class_of, kind_of
from microbatch.arrays.memory import version_of
from microbatch.arrays.row_types import has_rows
from microbatch.arrays.shared_memory import check_apart
from microbatch.binding.leaf_parts import Rows as RowNumbers
from microbatch.errors import OutputMismatchError
from microbatch.extend.protocols import Backend
from microbatch.gathering.row_places import RowPlaces
from microbatch.gathering.row_sink import mismatch, no_row_each

TEXTS = "US"
"""Kinds of dtypes of NumPy for texts or bytes of a fixed width."""


class Joiner(Protocol):
    """What `extend.protocols.Rows` offers, as far as it is needed to put rows together."""

    def length(self, rows: Any) -> int:
        """How many there are."""
        ...

    def take(self, rows: Any, where: slice) -> Any:
        """Those at `where`."""
        ...

    def join(self, parts: Sequence[Any], order: RowNumbers | None = None) -> Any:
        """All rows, in the order of their numbers `order`."""
        ...

    def alike(self, rows: Any) -> Hashable:
        """What all parts have in common."""
        ...


class ArrayRows:
    """Joins arrays along an axis, by the backend that they belong to."""

    __slots__ = ("_axis", "_backend")

    def __init__(self, backend: Backend, axis: int) -> None:
        self._backend = backend
        self._axis = axis

    def length(self, rows: Any) -> int:
        """Entries along the axis."""
        return int(rows.shape[self._axis])

    def take(self, rows: Any, where: slice) -> Any:
        """Those at `where`, as a view where the framework gives one."""
        return rows[(*[slice(None)] * self._axis, where)]

    def join(self, parts: Sequence[Any], order: RowNumbers | None = None) -> Any:
        """One array, a copy even of a single part, which may be a view of an input; in `order` if given."""
        joined = self._backend.concatenate(parts, self._axis)
        return joined if order is None else self._backend.take(joined, order.tolist(), self._axis)

    def alike(self, rows: Any) -> Hashable:
        """Class, device, shape of a row, and dtype; of texts only that they are, whatever their width."""
        axes = len(rows.shape)
        tail = tuple(size for axis, size in enumerate(rows.shape) if axis != self._axis)
        dtype = rows.dtype.kind if is_text(rows) else str(rows.dtype)
        return class_of(rows), str(getattr(rows, "device", "")), axes, tail, dtype


def is_text(array: Any) -> bool:
    """Whether it is an array of texts or bytes of a fixed width, which another part may have longer ones
    than."""
    return type(array) is np.ndarray and array.dtype.kind in TEXTS


class JoinedSink:
    """One output leaf that is joined from its parts."""

    def __init__(self, name: str, places: RowPlaces, rows: Joiner, first: Any, index: int) -> None:
        """`first` is what ubatch `index` returned, like which all others must be."""
        self._name = name
        self._places = places
        self._rows = rows
        self._kind = type(first)
        self._looks = f"a {type(first).__name__} of rows" if has_rows(first) else kind_of(first)
        self._alike = rows.alike(first)
        self._first = index
        self._parts: dict[int, Any] = {}
        self._versions: dict[int, int | None] = {}

    def write(self, index: int, part: Any) -> None:
        """Take the rows of ubatch `index`; raises OutputMismatchError where they are of another kind."""
        if type(part) is not self._kind:
            raise mismatch(self._name, index, kind_of(part), self._first, self._looks)
        expected, found = self._places.counts[index], self._rows.length(part)
        if found != expected:
            raise no_row_each(self._name, index, found, f"{expected} {self._places.unit}")
        if self._rows.alike(part) != self._alike:
            raise self._other(index, part)
        self._parts[index] = part
        self._versions[index] = version_of(part)

    def _other(self, index: int, part: Any) -> OutputMismatchError:
        if not has_rows(part):
            return mismatch(self._name, index, kind_of(part), self._first, self._looks)
        return OutputMismatchError(
            f"{self._name} has other columns, types or names in ubatch {index} than in ubatch {self._first}; "
            "return the same from every call"
        )

    def finish(self) -> Any:
        """All rows in the caller's order."""
        places = self._places
        order = sorted(self._parts)
        check_apart(self._name, [self._parts[i] for i in order], [self._versions[i] for i in order])
        owned = [self._owned(index, where) for index, where in enumerate(places.ranges)]
        self._parts = {}
        return self._rows.join(owned, None if places.order is None else np.argsort(places.order))

    def _owned(self, index: int, where: slice) -> Any:
        """The rows that are this ubatch's: a request that straddles its end is the next one's."""
        part, rows = self._parts[index], where.stop - where.start
        return part if rows == self._places.counts[index] else self._rows.take(part, slice(0, rows))
