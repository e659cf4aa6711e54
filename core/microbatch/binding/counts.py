"""The counts of a batch: collected from its leaves, compared, and turned into a BatchShape.

Invariant: two leaves that disagree about a count are named together, with both numbers and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microbatch.cutting.cut import BatchShape
from microbatch.errors import LayoutError

__all__ = ["Sizes", "as_ints", "check_starts", "request_lengths"]

Name = Callable[[int], str]


class Sizes:
    """What the leaves say about the numbers of tokens and requests, and which leaf said it."""

    __slots__ = ("needs_starts", "num_requests", "num_tokens", "requests_from", "starts", "tokens_from")

    def __init__(self) -> None:
        self.num_tokens: int | None = None
        self.num_requests: int | None = None
        self.tokens_from = self.requests_from = -1
        self.starts: np.ndarray | None = None
        self.needs_starts: int | None = None

    @property
    def empty(self) -> bool:
        """Whether no leaf has said anything yet."""
        return self.num_tokens is None and self.num_requests is None

    def set_starts(self, starts: np.ndarray, index: int, name: Name) -> None:
        """Take the counts from query_start_loc; a second one must be equal."""
        if self.starts is not None and not np.array_equal(self.starts, starts):
            raise LayoutError(
                f"{name(index)} differs from {name(self.tokens_from)}; pass one query_start_loc"
            )
        self.starts = starts
        self.num_tokens, self.num_requests = int(starts[-1]), len(starts) - 1
        self.tokens_from = self.requests_from = index

    def set_tokens(self, size: int, index: int, axis: int, name: Name) -> None:
        """A leaf has `size` tokens along `axis`."""
        if self.num_tokens is None:
            self.num_tokens, self.tokens_from = size, index
        elif size != self.num_tokens:
            raise LayoutError(
                self._differ("tokens", size, index, axis, self.num_tokens, self.tokens_from, name)
            )

    def set_requests(self, size: int, index: int, axis: int, name: Name) -> None:
        """A leaf has `size` requests along `axis`."""
        if self.num_requests is None:
            self.num_requests, self.requests_from = size, index
        elif size != self.num_requests:
            raise LayoutError(
                self._differ("requests", size, index, axis, self.num_requests, self.requests_from, name)
            )

    def kind_of(self, size: int) -> str | None:
        """What an undeclared leading axis of `size` must be; None where that is nothing, or not certain."""
        rows, count = self.num_tokens, self.num_requests
        if size == rows and size == count and self.starts is not None:
            return "tokens" if bool((np.diff(self.starts) == 1).all()) else None
        return "tokens" if size == rows else "requests" if size == count else None

    def misfit(self, size: int, index: int, name: Name) -> str:
        """Why an undeclared leaf fits nothing, and what to declare."""
        leaf, other = name(index), name(max(self.tokens_from, self.requests_from))
        field = leaf.partition("[")[0] if "[" not in leaf else leaf.rpartition("[")[2].strip("]'\"")
        if self.starts is not None and size == self.num_tokens:
            return f"{leaf} has {size} rows, and there are as many tokens as requests; declare it tokens() or requests()"
        if self.starts is not None:
            hint = "query_start_loc()" if size == len(self.starts) else "replicate() or tokens(axis)"
            counts = f"{self.num_tokens} tokens and {self.num_requests} requests"
            return f"{leaf} has {size} rows but the batch has {counts}; declare it {hint}"
        plural = "row" if size == 1 else "rows"
        rows = self.num_tokens if self.num_tokens is not None else self.num_requests
        if size == 1:
            remedy = f"if it is shared by all rows, pass Layout(inputs={{{field!r}: replicate()}})"
        else:
            remedy = f"declare {field!r} replicate() if it is not per row, or tokens(axis) for another axis"
        return f"{leaf} has {size} {plural} but {other} has {rows} (axis 0); {remedy}"

    def shape(self, name: Name) -> BatchShape:
        """The counts as a record; a batch of rows has as many requests as tokens."""
        rows = self.num_tokens if self.num_tokens is not None else self.num_requests
        count = self.num_requests if self.num_requests is not None else self.num_tokens
        if rows is None or count is None:
            raise LayoutError("nothing to split: no leaf says how many rows there are; declare one tokens()")
        if self.starts is None and rows != count:
            self._check_counts(rows, count, name)
        return BatchShape(num_tokens=rows, num_requests=count, query_start_loc=self.starts, lengths=None)

    def _check_counts(self, rows: int, count: int, name: Name) -> None:
        if self.needs_starts is not None:
            raise LayoutError(
                f"{name(self.needs_starts)} needs to know where each request starts; declare a query_start_loc()"
            )
        if rows < count:
            raise LayoutError(f"{rows} tokens cannot cover {count} requests; each needs at least one")

    def _differ(
        self, unit: str, size: int, index: int, axis: int, other: int, other_index: int, name: Name
    ) -> str:
        return (
            f"{name(index)} has {size} {unit} (axis {axis}) but {name(other_index)} says {other}; "
            "correct the rule of one of them, or declare it replicate()"
        )


def as_ints(leaf: Any, name: str) -> np.ndarray:
    """A leaf of integers, on the host."""
    try:
        values = np.asarray(leaf)
    except (TypeError, RuntimeError):  # a device array, which refuses to be copied silently
        values = np.asarray(leaf.tolist())
    if values.dtype.kind not in "iub" and values.size:
        raise LayoutError(f"{name} must hold integers, got {values.dtype}; pass counts")
    return values


def check_starts(starts: np.ndarray, name: str) -> np.ndarray:
    """Check cumulative starts: 1-D, from 0, never decreasing."""
    if starts.ndim != 1 or len(starts) == 0:
        raise LayoutError(f"{name} must be 1-D with requests + 1 entries, got shape {starts.shape}")
    starts = starts.astype(np.int64)
    if starts[0] != 0:
        raise LayoutError(f"{name}[0] is {starts[0]}; cumulative starts begin at 0")
    falls = np.flatnonzero(np.diff(starts) < 0)
    if len(falls):
        at = int(falls[0]) + 1
        raise LayoutError(
            f"{name} decreases at index {at} ({starts[at - 1]} to {starts[at]}); pass cumulative starts"
        )
    if len(starts) > 1 and starts[-1] == 0:
        raise LayoutError(f"{name} says {len(starts) - 1} requests but 0 tokens; leave empty requests out")
    return starts


def request_lengths(
    source: str | Callable[..., Sequence[int]],
    leaves: Sequence[Any],
    call: tuple[tuple[Any, ...], dict[str, Any]],
    shape: BatchShape,
    matches: Callable[[str, int], bool],
    name: Name,
) -> np.ndarray:
    """Length of each request, from a mask, a leaf of lengths, or a function of the arguments."""
    if shape.query_start_loc is not None:
        raise LayoutError(
            "lengths and a query_start_loc were both given; requests of one batch have one of them"
        )
    if callable(source):
        values, label = as_ints(source(*call), "lengths"), "lengths"
    else:
        index = next((index for index in range(len(leaves)) if matches(source, index)), None)
        if index is None:
            raise LayoutError(
                f"lengths={source!r} names no argument; name a mask, a leaf of lengths, or a function"
            )
        label = name(index)
        values = _mask_lengths(leaves[index], label)
    if values.ndim != 1 or len(values) != shape.num_requests:
        raise LayoutError(f"{label} gives lengths of shape {values.shape} for {shape.num_requests} requests")
    if len(values) and int(values.min()) < 0:
        raise LayoutError(f"{label} has the length {int(values.min())}; lengths are 0 or more")
    return values.astype(np.int64)


def _mask_lengths(leaf: Any, name: str) -> np.ndarray:
    values = as_ints(leaf, name)
    if values.ndim != 2:
        return values
    width = values.shape[1]
    if width == 0 or len(values) == 0:
        return np.ones(len(values), np.int64)
    held = values != 0
    last = width - np.argmax(held[:, ::-1], axis=1)
    # An all-padding row keeps one column: a part of width 0 breaks models that a padded row does not.
    return np.where(held.any(axis=1), last, 1)
