"""What becomes of one output leaf: rows written into a result, or values kept and combined.

Invariant: `write` may be called from any thread, once per ubatch; `finish` once, after all of them. Nothing is
locked: the one thread that gets the token allocates the result, the others keep their part until it is there.
Rejected: a lock (core/batch knows no threads), and joining all parts at the end (twice the memory, and the join is
not done by the workers).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from microbatch.arrays.looks import along, class_of, kind_of
from microbatch.arrays.memory import on_host, version_of
from microbatch.arrays.overwritten import check_apart
from microbatch.errors import ArgumentValueError, OutputMismatchError
from microbatch.extend.protocols import Backend
from microbatch.gathering.result_memory import Home
from microbatch.gathering.row_places import Places

__all__ = ["Allocate", "RowsSink", "Sink", "kind_of", "mismatch"]

Allocate = Callable[[tuple[int, ...], Any], Any]
"""allocate(shape, like) -> array: where the result of a leaf comes from."""


class Sink(Protocol):
    """One output leaf in the making."""

    def write(self, index: int, part: Any) -> None:
        """Take what ubatch `index` returned."""
        ...

    def finish(self) -> Any:
        """The leaf of the whole batch."""
        ...


class RowsSink:
    """Rows of an array, each written to its place in one result."""

    __slots__ = (
        "_allocate", "_axis", "_backend", "_class", "_device", "_dtype", "_first", "_given", "_kept", "_name", "_places",
        "_tail", "_target", "_token", "_versions",
    )  # fmt: skip

    def __init__(
        self,
        part: Any,
        index: int,
        axis: int,
        places: Places,
        name: str,
        backend: Backend,
        home: Home,
        allocate: Allocate | None = None,
    ) -> None:
        shape = part.shape
        self._axis = axis
        self._tail = tuple(shape[1:]) if axis == 0 else (*shape[:axis], *shape[axis + 1 :])
        self._dtype = part.dtype
        self._class = class_of(part)
        self._device = getattr(part, "device", None)
        self._first = index
        self._places = places
        self._name = name
        self._backend = backend
        self._allocate = allocate or home.empty
        self._given = allocate is not None
        self._kept: dict[int, Any] = {}
        self._versions: dict[int, int | None] = {}
        self._target: Any = None
        self._token: deque[None] = deque([None])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole result."""
        axis = self._axis
        return (*self._tail[:axis], self._places.total, *self._tail[axis:])

    def write(self, index: int, part: Any) -> None:
        """Put the rows of ubatch `index` in their place; raises OutputMismatchError if they do not fit."""
        places, axis = self._places, self._axis
        shape = getattr(part, "shape", None)
        if shape is None or len(shape) <= axis:
            raise mismatch(self._name, index, kind_of(part), self._first, f"{self._dtype} rows")
        tail = shape[1:] if axis == 0 else (*shape[:axis], *shape[axis + 1 :])
        if tail != self._tail or shape[axis] != places.counts[index] or part.dtype != self._dtype:
            raise self._wrong(index, part)
        if getattr(part, "device", None) != self._device:
            raise mismatch(self._name, index, f"on {part.device}", self._first, f"on {self._device}")
        if type(part) is not self._class and class_of(part) is not self._class:
            found, expected = f"a {type(part).__name__}", f"a {self._class.__name__}"
            raise mismatch(self._name, index, found, self._first, expected)
        target = self._target
        if target is None or self._backend.differentiable((part,)):
            target = self._start(part)
        if target is None:
            self._keep(index, part)
        else:
            self._place(target, index, part)

    def finish(self) -> Any:
        """The whole result."""
        if self._target is not None and not self._backend.differentiable(tuple(self._kept.values())):
            for index, part in self._kept.items():
                self._place(self._target, index, part)
            return self._target
        return self._joined()

    def _keep(self, index: int, part: Any) -> None:
        """Until the end: as it is where autograd records, else a copy, since the function may use its memory again
        while another thread is still making the result."""
        if self._backend.differentiable((part,)):
            self._versions[index] = version_of(part)
        else:
            owned = self._backend.empty(part.shape, part)
            self._backend.copy(owned, part)
            part = owned
        self._kept[index] = part

    def _start(self, part: Any) -> Any:
        """The target to write `part` into; None where the part must be kept."""
        if self._backend.differentiable((part,)):
            if self._given:
                raise ArgumentValueError(
                    f"autograd records {self._name}, so it cannot go to out=; leave out= away"
                )
            return None
        try:
            self._token.pop()
        except IndexError:
            return self._target
        try:
            self._target = target = self._allocate(self.shape, part)
        except BaseException:
            self._token.append(None)
            raise
        return target

    def _place(self, target: Any, index: int, part: Any) -> None:
        places, axis = self._places, self._axis
        where = places.ranges[index]
        part = self._owned(index, part)
        if self._given and isinstance(target, np.ndarray) and not isinstance(part, np.ndarray):
            target[along(axis, where if places.order is None else places.order[where])] = on_host(part)
        elif places.order is None:
            self._backend.copy(target[where if axis == 0 else along(axis, where)], part)
        else:
            self._backend.scatter(target, places.order[where], part, axis)

    def _owned(self, index: int, part: Any) -> Any:
        where = self._places.ranges[index]
        rows = where.stop - where.start
        return part if rows == self._places.counts[index] else part[along(self._axis, slice(0, rows))]

    def _joined(self) -> Any:
        """Join parts that autograd must see, with those already written taken back out of the target."""
        places, axis, backend = self._places, self._axis, self._backend
        kept = range(len(places.ranges))
        check_apart(self._name, [self._kept.get(i) for i in kept], [self._versions.get(i) for i in kept])
        parts = []
        for index, where in enumerate(places.ranges):
            if index in self._kept:
                parts.append(self._owned(index, self._kept[index]))
            elif places.order is None:
                parts.append(self._target[along(axis, where)])
            else:
                parts.append(backend.take(self._target, places.order[where], axis))
        joined = parts[0] if len(parts) == 1 else backend.concatenate(parts, axis)
        if places.order is None:
            return joined
        return backend.take(joined, np.argsort(places.order).tolist(), axis)

    def _wrong(self, index: int, part: Any) -> OutputMismatchError:
        """What exactly does not fit."""
        places, axis, first = self._places, self._axis, self._first
        if part.dtype != self._dtype:
            return mismatch(self._name, index, kind_of(part), first, str(self._dtype))
        if part.shape[axis] != places.counts[index]:
            return OutputMismatchError(
                f"ubatch {index} returned {part.shape[axis]} rows at {self._name}; its input had "
                f"{places.counts[index]} {places.unit}; declare the output replicate(), reduce(fn) or collect() "
                "if it is not per row"
            )
        tail = (*part.shape[:axis], *part.shape[axis + 1 :])
        hint = ""
        if len(tail) == len(self._tail):
            wide = [place + (place >= axis) for place, size in enumerate(tail) if size != self._tail[place]]
            hint = f"; if axis {wide[0]} is padded, declare it {places.unit}(trim={wide[0]})"
        return OutputMismatchError(
            f"{self._name} has rows of shape {tail} in ubatch {index} and {self._tail} in ubatch {first}{hint}"
        )


def mismatch(name: str, index: int, found: str, first: int, expected: str) -> OutputMismatchError:
    """The error for an output of two ubatches that are not of one kind."""
    return OutputMismatchError(
        f"{name} is {found} in ubatch {index} but {expected} in ubatch {first}; return the same kind from every call"
    )
