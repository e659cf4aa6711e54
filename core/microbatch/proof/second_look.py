"""Which rows to try once more, now that a step's result shows what its rows come to.

Invariant: asked only for outputs that say little: flags, labels, values at a bound. A few rows of them may
well agree by chance, as they do for `x > x.mean()` in 7 of 30 batches, and for `abs(x - mean) > 3 * std` in
24 of 30. So rows are chosen by their result: the rarest beside the commonest, then each kind alone. What
depends on other rows is another for such a choice, since a flag is raised by what is not among them; what
does not is the same. Rejected: more rows at random (a thousand of them do not have the power of these), and
to refuse such outputs (every classifier has them).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microbatch.binding.leaf_parts import Rows
from microbatch.binding.rules import ROW_KINDS
from microbatch.cutting.slices import BatchShape
from microbatch.proof.output_kinds import Seen
from microbatch.proof.sample import ROWS
from microbatch.proof.verdict import StepOutput

LOOKED_AT = 16_384
"""Rows of a result that are looked at, spread over it: about 10 ms, once a structure."""
LOOKED_AT_BYTES = 2 << 20
"""The same for rows that are large."""
ENTRIES = 1 << 16
"""Entries that are compared, spread over the columns of wide rows. Of logits for 50,257 words at 32 places
each of 12 rows has 1.6 million; to sort these took 30 s of the first call."""
DISTINCT = 0.5
"""Share of entries that differ from all others, from which an output says much: those of a measured quantity
all do, and half of what a rectifier gives is zero."""


def says_little(seen: Seen) -> bool:
    """Whether it has rows, and the same entries for several of those that were tried."""
    if seen.values is None or seen.rule.kind not in ROW_KINDS:
        return False
    entries = _entries(seen.values)
    if entries is None:
        return False
    entries = _narrow(entries)
    # not `np.unique(..., axis=0)`: NumPy compares records there, and makes a TypeError of an interrupt
    rows = {row.tobytes() for row in entries}
    return len(np.unique(entries)) < DISTINCT * entries.size or len(rows) < len(entries)


def chosen(output: StepOutput, shape: BatchShape, count: int) -> list[Rows]:
    """Some sets of `count` requests to try; none where all rows that were looked at have one value.

    As many as were tried before: a function that is compiled for each size is not compiled again.
    """
    total, first = output.total, _entries(output.rows_at([0]))
    places = _spread(total, 0 if first is None else first.nbytes)
    entries = _entries(output.rows_at(places))
    if entries is None or (entries == entries[:1]).all():
        return []
    sets = _sets(_narrow(entries), count)
    found = [places[some] for some in sets]
    if output.seen.rule.kind == "tokens" and shape.query_start_loc is not None:
        found = [np.searchsorted(shape.starts, some, side="right") - 1 for some in found]
    return [np.unique(some) for some in found]


def _entries(rows: Any) -> NDArray[Any] | None:
    """A row of numbers or texts for each row, equal where rows are equal; None for a table, sparse or not,
    that NumPy makes no array of."""
    try:
        found = np.asarray(rows)
    except ValueError:  # rows of unequal lengths
        found = np.asarray([repr(row) for row in rows])
    except TypeError:
        return None
    if found.ndim == 0:
        return None
    if found.dtype.kind not in "biufcSUmM":
        found = np.asarray([repr(row) for row in found])
    if found.dtype.kind == "f":
        found = (
            found.view(f"i{found.dtype.itemsize}") if found.dtype.itemsize <= 8 else found
        )  # NaN is itself
    return found.reshape(len(found), -1)


def _narrow(entries: NDArray[Any]) -> NDArray[Any]:
    """The same rows, of wide ones so many columns that there are about `ENTRIES` entries."""
    return entries[:, :: max(1, entries.size // ENTRIES)]


def _spread(total: int, size: int) -> Rows:
    """Places spread evenly over the rows of a result, each of `size` bytes."""
    count = min(total, LOOKED_AT, max(ROWS, LOOKED_AT_BYTES // max(1, size)))
    return (2 * np.arange(count, dtype=np.int64) + 1) * total // (2 * count)


def _sets(entries: NDArray[Any], count: int) -> list[Rows]:
    """`count` rows each: the rarest beside the commonest, the commonest alone, the rarest alone."""
    _, kinds, counts = np.unique(entries, return_inverse=True, return_counts=True)
    order = np.argsort(counts[kinds].reshape(entries.shape).min(axis=1), kind="stable")
    texts = [row.tobytes() for row in entries]
    common = Counter(texts).most_common(1)[0][0]
    alone = [number for number, text in enumerate(texts) if text == common][:count]
    rare = max(1, count // 2)
    return [
        np.concatenate([order[:rare], order[rare:][rare - count :]]),
        np.asarray(alone, np.int64) if len(alone) == count else order[-count:],
        order[:count],
    ]
