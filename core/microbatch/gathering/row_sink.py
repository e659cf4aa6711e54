"""What becomes of one output leaf: rows written into a result, or values kept and combined.

Invariant: `write` may be called from any thread, once per ubatch; `finish` once, after all of them. Nothing
is locked: the one thread that gets the token allocates the result, the others keep their part until it is
there. Rejected: a lock (nothing here knows threads); joining at the end (twice the memory, not by workers).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from microbatch.arrays.looks import along, class_of, kind_of
from microbatch.arrays.memory import version_of
from microbatch.arrays.shared_memory import check_apart
from microbatch.errors import ArgumentValueError, OutputMismatchError
from microbatch.extend.device import meaning_of
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind
from microbatch.gathering.given_leaf import GivenLeaf
from microbatch.gathering.result_memory import Allocate
from microbatch.gathering.row_places import RowPlaces
from microbatch.options.raised import note

MakeRoom = Callable[[bool], None]
"""make_room(again): called where memory ran out; `again` says that a second try failed."""


class OutputLeaf(Struct, frozen=True):
    """One leaf of the outputs, before anything of it was seen."""

    name: str
    """What messages call it: `output['h']`."""
    backend: Backend
    """What copies its rows."""
    allocate: Allocate
    """Makes the result."""
    make_room: MakeRoom
    """What may help where there is no memory for it."""
    given: GivenLeaf | None = None
    """The caller's own place for the result, which is then what `allocate` asks; None where there is none."""
    joins: bool = False
    """Whether its arrays cannot be written to, so that parts are joined."""

    def result(self, shape: tuple[int, ...], like: Any) -> Any:
        """A result of `shape` with the dtype of `like`. Where memory runs out it is tried twice more.

        Cached memory is given back before: it is in blocks of the size of parts, which no result fits into.
        """
        for again in (False, True):
            try:
                return self.allocate(shape, like)
            except Exception as error:
                if self.given is not None or meaning_of(self.backend, error) is not FailureKind.OOM:
                    raise
            self.make_room(again)
        try:
            return self.allocate(shape, like)
        except Exception as error:
            note(
                error, f"while room was made for a result of shape {shape}, before any row of it was written"
            )
            raise


class Sink(Protocol):
    """One output leaf in the making."""

    def write(self, index: int, part: Any) -> None:
        """Take what ubatch `index` returned."""

    def finish(self) -> Any:
        """The leaf of the whole batch."""


class RowsSink:
    """Rows of an array, each written to its place in one result."""

    def __init__(self, part: Any, index: int, axis: int, places: RowPlaces, leaf: OutputLeaf) -> None:
        shape = tuple(part.shape)
        self._axis = axis
        self._tail = shape[1:] if axis == 0 else (*shape[:axis], *shape[axis + 1 :])
        self._dtype = part.dtype
        self._class = np.ndarray if type(part) is np.ndarray else class_of(part)
        self._device = getattr(part, "device", None)
        self._first = index
        self._places = places
        self._leaf = leaf
        self._kept: dict[int, Any] = {}
        """Parts that autograd records, until the end."""
        self._copies: dict[int, Any] = {}
        """Copies of parts that came while another thread was making the result."""
        self._versions: dict[int, int | None] = {}
        self._target: Any = None
        self._token: deque[None] = deque([None])
        if leaf.given is not None:
            leaf.given.check_place(places.unit, axis)
        self.shape = (*self._tail[:axis], places.total, *self._tail[axis:])
        """Shape of the whole result."""

    def write(self, index: int, part: Any) -> None:
        """Put the rows of ubatch `index` in their place; raises OutputMismatchError if they do not fit."""
        places, axis = self._places, self._axis
        shape = getattr(part, "shape", None)
        if shape is None or len(shape) <= axis:
            raise mismatch(self._leaf.name, index, kind_of(part), self._first, f"{self._dtype} rows")
        tail = shape[1:] if axis == 0 else (*shape[:axis], *shape[axis + 1 :])
        if tail != self._tail or shape[axis] != places.counts[index] or part.dtype != self._dtype:
            raise self._wrong(index, part)
        if getattr(part, "device", None) != self._device:
            raise mismatch(self._leaf.name, index, f"on {part.device}", self._first, f"on {self._device}")
        if type(part) is not self._class and class_of(part) is not self._class:
            found, expected = f"a {type(part).__name__}", f"a {self._class.__name__}"
            raise mismatch(self._leaf.name, index, found, self._first, expected)
        if self._leaf.backend.differentiable((part,)):
            self._keep(index, part)
            return
        target = self._target
        if target is None:
            target = self._start(part)
        if target is None:  # the function may use its memory again before the result is there
            self._copies[index] = self._copy_of(part)
        else:
            self._place(target, index, part)
            if self._copies:
                self._place_copies(target)

    def finish(self) -> Any:
        """The whole result."""
        target = self._target
        if target is not None and self._copies:
            self._place_copies(target)
        return self._joined() if target is None or self._kept else target

    def _keep(self, index: int, part: Any) -> None:
        """Keep what autograd records until the end, as it is."""
        if self._leaf.given is not None:
            raise ArgumentValueError(
                f"autograd records {self._leaf.name} and would not see it written to an array; let the"
                " function return its .detach(), or call under no_grad, or without out="
            )
        self._versions[index] = version_of(part)
        self._kept[index] = part

    def _copy_of(self, part: Any) -> Any:
        """A copy; the framework's own, where the backend cannot make one and the result is the caller's."""
        try:
            owned = self._leaf.backend.empty(part.shape, part)
            self._leaf.backend.copy(owned, part)
        except (TypeError, ValueError):
            if not self._leaf.given:
                raise
            return (getattr(part, "clone", None) or part.copy)()
        return owned

    def _place_copies(self, target: Any) -> None:
        """Write the copies that were kept while the result was made, and let their memory go.

        Taking one out is a single operation, so two threads never write the same one.
        """
        for index in tuple(self._copies):
            copy = self._copies.pop(index, None)
            if copy is not None:
                self._place(target, index, copy)

    def _start(self, part: Any) -> Any:
        """The result, made now; None while another thread is making it."""
        try:
            self._token.pop()
        except IndexError:
            return self._target
        try:
            self._target = target = self._leaf.result(self.shape, part)
        except BaseException:
            self._token.append(None)
            raise
        return target

    def _place(self, target: Any, index: int, part: Any) -> None:
        places, axis = self._places, self._axis
        where = places.ranges[index]
        if where.start == where.stop:
            return  # padding alone, or a request that goes on in the next ubatch
        if where.stop - where.start != places.counts[index]:
            part = self._owned(index, part)
        if self._leaf.given is not None:
            self._leaf.given.put(where if places.order is None else places.order[where], part, axis)
        elif places.order is None:
            self._leaf.backend.copy(target[where if axis == 0 else along(axis, where)], part)
        else:
            self._leaf.backend.scatter(target, places.order[where], part, axis)

    def _owned(self, index: int, part: Any) -> Any:
        """The rows that are this ubatch's to write: a request that straddles its end is the next one's, and
        padding is nobody's."""
        where = self._places.ranges[index]
        rows = where.stop - where.start
        return part if rows == self._places.counts[index] else part[along(self._axis, slice(0, rows))]

    def _joined(self) -> Any:
        """Join parts that autograd must see, with those already written taken back out of the target."""
        places, axis, backend = self._places, self._axis, self._leaf.backend
        kept = range(len(places.ranges))
        check_apart(self._leaf.name, [self._kept.get(i) for i in kept], [self._versions.get(i) for i in kept])
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
        places, axis, first, name = self._places, self._axis, self._first, self._leaf.name
        if part.dtype != self._dtype:
            return mismatch(name, index, kind_of(part), first, str(self._dtype))
        if part.shape[axis] != places.counts[index]:
            return no_row_each(name, index, part.shape[axis], f"{places.counts[index]} {places.unit}")
        tail = (*part.shape[:axis], *part.shape[axis + 1 :])
        hint = ""
        if len(tail) == len(self._tail):
            wide = [place + (place >= axis) for place, size in enumerate(tail) if size != self._tail[place]]
            hint = f"; if axis {wide[0]} is padded, declare it {places.unit}(trim={wide[0]})"
        return OutputMismatchError(
            f"{name} has rows of shape {tail} in ubatch {index} and {self._tail} in ubatch {first}{hint}"
        )


def no_row_each(name: str, index: int, found: int, expected: str) -> OutputMismatchError:
    """The error for an output that has other rows than its part of the inputs."""
    return OutputMismatchError(
        f"{name} does not have one row for each row of the input: ubatch {index} had {expected} and returned "
        f"{found} rows; if the function needs all rows at once (a mean over rows, the last row), call it "
        "whole; if another axis has the rows, declare the output tokens(axis); else declare it replicate(), "
        "reduce(fn) or collect()"
    )


def mismatch(name: str, index: int, found: str, first: int, expected: str) -> OutputMismatchError:
    """The error for an output of two ubatches that are not of one kind."""
    return OutputMismatchError(
        f"{name} is {found} in ubatch {index} but {expected} in ubatch {first}; return the same kind from "
        "every call"
    )
