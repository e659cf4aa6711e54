"""Which rows an experiment calls the function on: a few, spread over the batch, as copies.

Invariant: the function never sees an array of the caller's that it could harm: rows are copies, and what goes
whole is a copy, a view that cannot be written, or is watched. The two parts have unequal sizes, so that a
constant is told from rows, and the witness has their rows in the reverse order, so that a row's place and its
neighbours are other ones. For a function that is compiled anew for each size, the witness is as large as the
second part, with all rows of the first and some of the second. Rejected: neighbouring rows (they are more
often alike), and the whole batch (a step would take twice as long).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from msgspec import Struct

from microbatch.arrays.looks import is_array
from microbatch.arrays.memory import contents_of, nbytes_of
from microbatch.arrays.row_lists import is_row_list
from microbatch.binding.batch import Batch
from microbatch.binding.leaf_parts import Rows, token_permutation
from microbatch.cutting.cut import cut
from microbatch.cutting.slices import Cut
from microbatch.extend.device import Owners
from microbatch.extend.protocols import Backend
from microbatch.proof.trial_call import copied

ROWS = 12
"""Requests in a sample: parts of 5 and 7, and a witness of 12."""
HUGE_ROWS = 3
"""The same where a row is huge."""
MOST_BYTES = 16 << 20
"""Bytes of a sample's input; fewer rows where they would be more."""
OF_COMPILED = (5, 12)
"""Rows of the two parts for a function that is compiled anew for each size, where no part has such."""
COPIED = 4 << 20
"""Bytes up to which a leaf that goes whole is copied, which takes about a millisecond."""


class Sample(Struct, frozen=True):
    """Some rows of a batch, in two parts and once more as a witness."""

    batch: Batch
    """The rows in the order of the batch."""
    cut: Cut
    """The two parts."""
    witness: Batch
    """The same rows in the reverse order; of a compiled function as many as the second part has."""
    tokens: Rows
    """The place of each token in the batch."""
    requests: Rows
    """The place of each request in the batch."""


def positions_of(batch: Batch, wanted: int, draw: random.Random | None = None) -> Rows:
    """Which requests to take, in order: spread evenly, or drawn.

    Of rows that have lengths the shortest quarter is taken, as they cost less.
    """
    shape = batch.shape
    each = max(1, batch.bytes_per_unit * max(1, shape.num_tokens // max(1, shape.num_requests)))
    count = min(shape.num_requests, max(min(HUGE_ROWS, wanted), min(wanted, MOST_BYTES // each)))
    if draw is not None:
        return np.asarray(sorted(draw.sample(range(shape.num_requests), count)), np.int64)
    if shape.lengths is None or shape.num_requests < 4 * count:
        return (2 * np.arange(count, dtype=np.int64) + 1) * shape.num_requests // (2 * count)
    shorter = np.argsort(shape.lengths, kind="stable")[: shape.num_requests // 4]
    return np.sort(shorter[(2 * np.arange(count) + 1) * len(shorter) // (2 * count)])


def sample_of(
    batch: Batch, positions: Rows, backend: Backend, *, inside_requests: bool, first: int | None = None
) -> Sample:
    """Copies of the requests at `positions`; `inside_requests` says that a cut may fall into one.

    `first` is the size of the first part where all calls may have two sizes only.
    """
    taken = _guarded(batch.permuted(positions, backend), backend)
    if first is None:
        made, seen = _in_two(taken, inside_requests=inside_requests), positions
    else:
        made = cut(taken.shape, splitter="explicit", boundaries=[first])
        seen = positions[: len(positions) - first]
    return Sample(
        batch=taken,
        cut=made,
        witness=_guarded(batch.permuted(seen[::-1], backend), backend),
        tokens=token_permutation(batch.shape, positions),
        requests=positions,
    )


def _in_two(taken: Batch, *, inside_requests: bool) -> Cut:
    """Two parts of unequal size: five twelfths and the rest."""
    shape = taken.shape
    place = max(1, 5 * shape.num_tokens // 12)
    if shape.num_tokens != shape.num_requests or shape.query_start_loc is not None:
        starts = shape.starts
        inner = [int(start) for start in starts[1:-1] if 0 < start < shape.num_tokens]
        on_edge = place in inner
        if inside_requests and on_edge and place + 1 < shape.num_tokens and place + 1 not in inner:
            place += 1
        elif not inside_requests and inner:
            place = min(inner, key=lambda start: abs(start - place))
    return cut(shape, splitter="explicit", boundaries=[place] if place < shape.num_tokens else [])


def _guarded(taken: Batch, backend: Backend) -> Batch:
    """The batch with the arrays that go whole, and those in lists of rows, kept safe from writing."""
    owners = taken.owners or Owners(backend)
    return taken.with_leaves(
        [
            _entries_copied(leaf, owners) if is_cut else _safe(leaf, owners)
            for leaf, is_cut in taken.leaf_kinds()
        ]
    )


def _entries_copied(leaf: Any, owners: Owners) -> Any:
    """A list of rows with copies of the arrays in it; anything else as it is."""
    if not is_row_list(leaf) or not any(map(is_array, leaf)):
        return leaf
    return type(leaf)([copied(entry, owners) for entry in leaf])


def _safe(leaf: Any, owners: Owners) -> Any:
    if not is_array(leaf) or nbytes_of(leaf) <= COPIED:
        return _taken_apart(leaf, owners) if is_array(leaf) else copied(leaf, owners)
    if not isinstance(leaf, np.ndarray):
        return leaf  # its write counter is watched: no more can be done without copying it
    view = leaf.view()
    view.flags.writeable = False
    return view


def _taken_apart(leaf: Any, owners: Owners) -> Any:
    """A copy; also of what nobody can write to, as the function may take it for itself."""
    backend = owners.of(leaf)
    if leaf.shape and owners.joins(backend) and backend.owns(leaf):
        return backend.concatenate((leaf,), 0)
    return copied(leaf, owners)


class WholeLeaves:
    """The arrays of a call that every part is given whole, to see whether the function writes into them."""

    def __init__(self, batch: Batch) -> None:
        arrays = [leaf for leaf, is_cut in batch.leaf_kinds() if is_array(leaf) and not is_cut]
        self._before = [(leaf, contents_of(leaf, COPIED)) for leaf in arrays]

    def written(self) -> bool:
        """Whether any was written since."""
        return any(contents_of(leaf, COPIED) != before for leaf, before in self._before)
