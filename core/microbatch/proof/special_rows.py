"""Rows that a function may treat apart: missing, extreme, zero, or twice the same.

Invariant: up to half of the rows that are tried are such. What fills gaps with a mean, cuts off what is far
out or marks what came before does nothing to other rows: rows spread evenly over a batch, of which one in a
hundred has a gap, showed nothing in half of the batches, and the gaps were then filled with the means of the
parts. Only some rows of a batch are looked at, and only what NumPy reads: an entry that is rarer is found by
chance. Rejected: looking at all rows (of 8 million it takes as long as a cheap function).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbatch.arrays.looks import is_array
from microbatch.arrays.row_types import rows_of
from microbatch.binding.batch import Batch
from microbatch.binding.leaf_parts import Rows
from microbatch.extend.device import Device
from microbatch.options.raised import attempted, class_name
from microbatch.proof.host_values import HostValues

LOOKED_AT = 16_384
"""Rows that are looked at, spread over the batch."""
LOOKED_AT_BYTES = 1 << 18
"""The same where rows are large: a millisecond for each argument."""
OBJECTS = 2_048
"""The same for texts and other objects, each of which Python looks at."""


def with_special(batch: Batch, positions: Rows, device: Device) -> Rows:
    """As many requests as `positions`, in order; up to half of them special where there are such."""
    found, _ = attempted(lambda: list(dict.fromkeys(_special(batch, device))))
    special = np.asarray(found or [], np.int64)[: len(positions) // 2]
    others = np.setdiff1d(positions, special)
    kept = others[np.linspace(0, len(others) - 1, len(positions) - len(special)).astype(np.int64)]
    return np.union1d(kept, special)


def _special(batch: Batch, device: Device) -> Iterator[int]:
    """Requests of special rows, most telling first, of one argument after another."""
    starts = batch.shape.starts if batch.shape.query_start_loc is not None else None
    for leaf, axis in batch.token_axes():
        if axis is None:
            continue
        places = _spread(batch.shape.num_tokens, leaf)
        entries = _entries(leaf, axis, places, device)
        if entries is None:
            continue
        for row in _rows_of(entries):
            token = places[row]
            yield int(token if starts is None else np.searchsorted(starts, token, side="right") - 1)


def _spread(total: int, leaf: Any) -> Rows:
    nbytes = int(getattr(leaf, "nbytes", 0) or 0)
    most = LOOKED_AT if is_array(leaf) else OBJECTS
    count = min(total, most, max(1, LOOKED_AT_BYTES * total // nbytes) if nbytes else most)
    return (2 * np.arange(count, dtype=np.int64) + 1) * total // (2 * max(1, count))


def _entries(leaf: Any, axis: int, places: Rows, device: Device) -> NDArray[Any] | None:
    """The entries of these rows, a row of numbers or objects each; None for what NumPy does not read so."""
    rows = rows_of(leaf)
    if rows is not None:
        found = np.asarray(rows.take(leaf, places))
    elif is_array(leaf):
        found = np.moveaxis(HostValues(device)(device.owners.of(leaf).take(leaf, places, axis)), axis, 0)
    else:
        return None
    return found.reshape(len(places), -1) if found.ndim and len(found) == len(places) else None


def _rows_of(entries: NDArray[Any]) -> Iterator[int]:
    """Numbers of special rows."""
    missing = _missing(entries)
    yield from _ends(missing.any(1))
    if entries.dtype.kind in "biuf":
        valid = np.where(missing, 0, entries)
        yield int(valid.max(1).argmax())
        yield int(valid.min(1).argmin())
        zero = (entries == 0).any(1)
        if 0 < zero.sum() < len(zero) / 2:
            yield from _ends(zero)
    yield from _twice(entries)


def _ends(such: Any) -> list[int]:
    """The first and the last of such rows: each of the two parts that are tried is to have one."""
    return np.flatnonzero(such)[[0, -1]].tolist() if such.any() else []


def _missing(entries: NDArray[Any]) -> NDArray[np.bool_]:
    """Which are not a number, no time, infinite, None or empty."""
    kind = entries.dtype.kind
    if kind == "f":
        return np.asarray(~np.isfinite(entries))
    if kind in "mM":
        return np.asarray(np.isnat(entries))
    if kind not in "OUS":
        return np.zeros(entries.shape, bool)
    gaps = np.fromiter(map(_is_gap, entries.flat), bool, entries.size)
    return gaps.reshape(entries.shape)


def _is_gap(entry: object) -> bool:
    if isinstance(entry, float):
        return not math.isfinite(entry)
    if isinstance(entry, (str, bytes)):
        return not entry
    return entry is None or class_name(type(entry)) in ("NAType", "NaTType")


def _twice(entries: NDArray[Any]) -> list[int]:
    """Two rows that begin alike, where most do not, and that lie far apart: each part is to have one."""
    first: dict[Any, int] = {}
    pairs = [(first.setdefault(entry, row), row) for row, entry in enumerate(entries[:OBJECTS, 0].tolist())]
    start, end = max(pairs, key=lambda pair: pair[1] - pair[0], default=(0, 0))
    return [start, end] if start < end else []
