"""Rows that a function may treat apart: missing, extreme, zero, or twice the same.

Invariant: of each column in which a gap is seen a row with one is tried, and beside these up to half of the
rows are special. What fills gaps with a mean, cuts off what is far out or marks what came before does nothing
to other rows: rows spread evenly over a batch, of which one in a hundred has a gap, showed nothing in half of
the batches, and the gaps were then filled with the means of the parts. Small batches of numbers are searched
for gaps; else only some rows are looked at, and only what NumPy reads: an entry that is rarer is found by
chance. Rejected: looking at all rows (of 8 million it takes as long as a cheap function); rows with a gap in
any column (where one column has many gaps, all of them were its own, and a mean that filled the rare gaps of
another was not noticed).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
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
from microbatch.proof.sample import ROWS

LOOKED_AT = 16_384
"""Rows that are looked at, spread over the batch."""
LOOKED_AT_BYTES = 1 << 18
"""The same where rows are large: a millisecond for each argument."""
SEARCHED_BYTES = 4 << 20
"""Bytes of numbers up to which all of them are searched for gaps: a millisecond."""
OBJECTS = 32_768
"""Texts and other objects that are looked at, each of them by Python: 10 ms."""
TWINS = 2_048
"""Rows among which one is looked for that comes twice."""
MOST_GAPS = 24
"""Rows with gaps that are tried at most."""
NARROW = 8
"""Columns up to which the least and the largest of each are special."""


def with_special(batch: Batch, positions: Rows, device: Device, *, exact: bool = False) -> Rows:
    """As many requests as `positions`, in order; up to half of them special where there are such.

    Rows with gaps come in addition, unless there must be `exact` as many or they are huge.
    """
    found, _ = attempted(lambda: _special(batch, device))
    gaps, others = (list(dict.fromkeys(each)) for each in found or ((), ()))
    half = len(positions) // 2
    gaps = gaps[: half if exact or len(positions) < ROWS else MOST_GAPS]
    wanted = list(dict.fromkeys([*gaps, *others]))
    special = np.asarray(wanted[: max(half, len(gaps))], np.int64)
    spread = np.setdiff1d(positions, special)
    count = min(len(spread), len(positions) - min(len(special), half))
    kept = spread[np.linspace(0, len(spread) - 1, count).astype(np.int64)]
    return np.union1d(kept, special)


def _special(batch: Batch, device: Device) -> tuple[list[int], list[int]]:
    """Requests with gaps, and those that are special otherwise, most telling first, of each argument."""
    starts = batch.shape.starts if batch.shape.query_start_loc is not None else None
    found: tuple[list[int], list[int]] = [], []
    for leaf, axis in batch.token_axes():
        if axis is None:
            continue
        places = _places(batch.shape.num_tokens, leaf, axis)
        entries = _entries(leaf, axis, places, device)
        if entries is None:
            continue
        missing = _missing(entries)
        ways = islice(_covering(missing), MOST_GAPS), _otherwise(entries, missing)
        for requests, rows in zip(found, ways, strict=True):
            tokens = places[list(rows)]
            named = tokens if starts is None else np.searchsorted(starts, tokens, side="right") - 1
            requests += named.tolist()
    return found


def _places(total: int, leaf: Any, axis: int) -> Rows:
    """Rows that are looked at: some that are spread evenly, and of numbers those with a gap."""
    return np.union1d(_spread(total, leaf), _with_gaps(leaf, axis))


def _with_gaps(leaf: Any, axis: int) -> Rows:
    """Rows that together have a gap in each column that has any, where that is found in a millisecond."""
    rows = rows_of(leaf)
    if rows is not None and 0 < rows.nbytes(leaf) <= SEARCHED_BYTES:
        first = np.asarray(rows.take(leaf, np.zeros(1, np.int64)))
        leaf, axis = (np.asarray(leaf), 0) if first.dtype.kind == "f" else (None, 0)
    if not isinstance(leaf, np.ndarray) or leaf.dtype.kind != "f" or leaf.nbytes > SEARCHED_BYTES:
        return np.zeros(0, np.int64)
    missing = ~np.isfinite(np.moveaxis(leaf, axis, 0).reshape(leaf.shape[axis], -1))
    return np.fromiter(islice(_covering(missing), MOST_GAPS), np.int64)


def _spread(total: int, leaf: Any) -> Rows:
    """Rows that are looked at whatever they hold."""
    nbytes = int(getattr(leaf, "nbytes", 0) or 0)
    count = min(total, LOOKED_AT, max(1, LOOKED_AT_BYTES * total // nbytes) if nbytes else LOOKED_AT)
    if not is_array(leaf):
        count = min(total, LOOKED_AT, _objects_of(leaf))
    return _evenly(total, count)


def _evenly(total: int, count: int) -> Rows:
    return (2 * np.arange(count, dtype=np.int64) + 1) * total // (2 * max(1, count))


def _objects_of(leaf: Any) -> int:
    """Rows of something that is no array which are not more than so many objects, or any if it is numbers."""
    rows = rows_of(leaf)
    if rows is None:
        return 0
    first = np.asarray(rows.take(leaf, np.zeros(1, np.int64)))
    return LOOKED_AT if first.dtype.kind in "biufmM" else OBJECTS // max(1, first.size)


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


def _covering(missing: NDArray[np.bool_]) -> Iterator[int]:
    """Numbers of rows that together have a gap in each column that has any, the rarest first; then of the
    rarest columns the first, the last and the middle row with a gap, so that parts of the step have some."""
    counts = missing.sum(0)
    rarest = [column for column in np.argsort(counts, kind="stable").tolist() if counts[column]]
    left = set(rarest)
    for column in rarest:
        if column in left:
            rows = np.flatnonzero(missing[:, column])
            row = int(rows[missing[np.ix_(rows, sorted(left))].sum(1).argmax()])
            left.difference_update(np.flatnonzero(missing[row]).tolist())
            yield row
    for share in (0.0, 1.0, 0.5):
        for column in rarest[:NARROW]:
            rows = np.flatnonzero(missing[:, column])
            yield int(rows[round(share * (len(rows) - 1))])


def _otherwise(entries: NDArray[Any], missing: NDArray[np.bool_]) -> Iterator[int]:
    """Numbers of rows that are extreme, zero, or come twice."""
    if entries.dtype.kind not in "biuf" or not entries.size:
        yield from _twice(entries)
        return
    valid = np.where(missing, 0, entries)
    yield int(valid.max(1).argmax())
    yield int(valid.min(1).argmin())
    zero = (entries == 0).any(1)
    if 0 < zero.sum() < len(zero) / 2:
        yield from _ends(zero)
    yield from _twice(entries)
    if 1 < entries.shape[1] <= NARROW:
        yield from valid.argmax(0).tolist()
        yield from valid.argmin(0).tolist()


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
    pairs = [(first.setdefault(entry, row), row) for row, entry in enumerate(entries[:TWINS, 0].tolist())]
    start, end = max(pairs, key=lambda pair: pair[1] - pair[0], default=(0, 0))
    return [start, end] if start < end else []
