"""Leaves whose values count: where requests start, and how long each is.

Invariant: what leaves here is int64 on the host and makes sense as a count; else the leaf is named with the
first value that makes none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from microbatch.binding.paths import CallLeaves
from microbatch.binding.rules import LengthSource
from microbatch.cutting.shape_checks import check_lengths, check_starts
from microbatch.cutting.slices import BatchShape
from microbatch.errors import LayoutError


def read_starts(leaf: Any, name: str) -> np.ndarray:
    """The starts of requests and the end of the last: 1-D, from 0, never decreasing."""
    starts = _integers(leaf, name)
    if starts.ndim != 1 or len(starts) == 0:
        raise LayoutError(
            f"{name} has shape {starts.shape}; a query_start_loc is 1-D with requests + 1 entries"
        )
    starts = starts.astype(np.int64)
    check_starts(name, starts, LayoutError)
    if len(starts) > 1 and starts[-1] == 0:
        raise LayoutError(f"{name} says {len(starts) - 1} requests but 0 tokens; leave empty requests out")
    return starts


def read_lengths(source: LengthSource, leaves: CallLeaves, shape: BatchShape) -> np.ndarray:
    """The length of each request, from a mask, a leaf of lengths, or a function of the arguments."""
    if shape.query_start_loc is not None:
        raise LayoutError("the layout has both lengths and a query_start_loc; declare one of them")
    if callable(source):
        label, values = "lengths", _integers(source(leaves.args, leaves.kwargs), "lengths")
    else:
        index = leaves.find(source)
        if index is None:
            raise LayoutError(
                f"lengths={source!r} names no argument; name a mask, a leaf of lengths, or a function"
            )
        label = leaves.name(index)
        values = _lengths_of(_integers(leaves.values[index], label))
    if values.ndim != 1 or len(values) != shape.num_requests:
        raise LayoutError(
            f"{label} gives lengths of shape {values.shape} for {shape.num_requests} requests; "
            "give one for each"
        )
    values = values.astype(np.int64)
    check_lengths(label, values, LayoutError)
    return values


def _integers(leaf: Any, name: str) -> np.ndarray:
    try:
        values = np.asarray(leaf)
    except (TypeError, RuntimeError):  # a device array, which refuses to be copied silently
        values = np.asarray(leaf.tolist())
    if values.dtype.kind not in "iub" and values.size:
        raise LayoutError(
            f"{name} holds {values.dtype} and must hold integers; convert it, or pass another leaf"
        )
    return values


def _lengths_of(values: np.ndarray) -> np.ndarray:
    """The lengths that a 2-D mask shows: up to the last column that is not 0. Others stay as they are."""
    if values.ndim != 2:
        return values
    width = values.shape[1]
    if width == 0 or len(values) == 0:
        return np.ones(len(values), np.int64)
    held = values != 0
    last = width - np.argmax(held[:, ::-1], axis=1)
    # A row of padding alone keeps one column: a part of width 0 breaks models that a padded row does not.
    return np.where(held.any(axis=1), last, 1)
