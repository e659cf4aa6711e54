"""Part sizes that are multiples of a number: for kernels with tiles, and for groups that share tokens out.

Invariant: every boundary but the end of the batch is at a multiple. Whole multiples are shared out as tokens
are, so the last part is the only one that may be short. Rejected: rounding the boundaries of a cut at any
token, which leaves parts empty where there are few multiples.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from microbatch.cutting.slices import PartsWanted

Bounds = Callable[[int, int, PartsWanted], list[int]]
"""bounds(items, padded items, wanted): boundaries at any item."""


def in_multiples(tokens: int, padded: int, wanted: PartsWanted, multiple: int, bounds: Bounds) -> list[int]:
    """Boundaries at multiples of `multiple`, which is at most the limit."""
    limit = None if wanted.limit is None else wanted.limit // multiple
    made = bounds(-(-tokens // multiple), -(-padded // multiple), replace(wanted, limit=limit))
    return [min(bound * multiple, tokens) for bound in made]
