"""The cuts that a check tries: those where functions break, and drawn ones.

Invariant: the same shape and seed give the same cuts, and each is tried once. A large batch is not called
once for each of its rows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from microbatch.cutting.cut import cut
from microbatch.cutting.slices import BatchShape, Cut

SINGLE_ROWS = 16
"""Most parts of one row; the rest of the batch is one more part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One cut to try."""

    label: str
    """How it cuts, and the sizes."""
    cut: Cut
    """The cut."""
    inside_request: bool = False
    """Whether a boundary lies inside a request."""
    reordered: bool = False
    """Whether requests change places."""
    single_rows: bool = False
    """Whether a part has one row only."""


def trial_cuts(shape: BatchShape, seed: int, drawn: int) -> list[Trial]:
    """Cuts of a batch of at least 2 tokens; `drawn` of them at random places."""
    found: dict[tuple[int, ...], Trial] = {}
    for how, bounds in _places(shape, random.Random(seed), drawn):
        if bounds and tuple(bounds) not in found:
            made = cut(shape, splitter="explicit", boundaries=bounds)
            found[tuple(bounds)] = _trial(how, made, shape)
    trials = list(found.values())
    if (shape.lengths is not None or shape.query_start_loc is not None) and shape.num_requests > 1:
        made = cut(shape, splitter="packed", num_ubatches=min(3, shape.num_requests))
        trials.append(_trial("packed", made, shape))
    return trials


def _places(shape: BatchShape, draw: random.Random, drawn: int) -> list[tuple[str, list[int]]]:
    """How each cut is called, and the tokens where its parts end, the last one's left out."""
    rows = shape.num_tokens
    wanted = [
        ("halves", [rows // 2]),
        ("first row alone", [1]),
        ("last row alone", [rows - 1]),
        ("single rows", list(range(1, min(rows, SINGLE_ROWS + 1)))),
    ]
    for _ in range(drawn):
        wanted.append(("drawn", sorted(draw.sample(range(1, rows), draw.randint(1, min(rows - 1, 7))))))
    starts = shape.query_start_loc
    if starts is not None:
        inner = sorted({int(start) for start in starts if 0 < start < rows})
        middle = inner[len(inner) // 2 :][:1]
        wanted += [("between requests", inner[:SINGLE_ROWS]), ("between requests", middle)]
    return wanted


def _trial(how: str, made: Cut, shape: BatchShape) -> Trial:
    sizes = [piece.num_tokens for piece in made.slices]
    reordered = made.permutation is not None  # by packing, which never cuts a request
    starts = [piece.token_slice.start for piece in made.slices]
    return Trial(
        label=f"{how}: {_sizes(sizes)}",
        cut=made,
        inside_request=not reordered and not np.isin(starts, shape.starts).all(),
        reordered=reordered,
        single_rows=1 in sizes,
    )


def _sizes(sizes: Sequence[int]) -> str:
    shown = ", ".join(map(str, sizes[:4]))
    return f"{shown}, ... ({len(sizes)} parts)" if len(sizes) > 4 else shown
