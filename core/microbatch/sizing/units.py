"""What sizes of a batch are counted in: rows, tokens of requests, or padded cost.

Invariant: the one place that names the units. A size in one unit says nothing of a size in another, so what
is learned carries the unit in its signature.
"""

from __future__ import annotations

from msgspec import Struct

from microbatch.binding.batch import Batch
from microbatch.cutting.slices import Cut
from microbatch.options.fields import UBatchConfig


class Units(Struct, frozen=True, kw_only=True):
    """A batch counted in one unit."""

    count: int
    """Units in the whole batch."""
    unit: str
    """rows, tokens, or cost: the longest row of a part times its rows."""
    longest: int
    """Units of the longest request; no part can be smaller."""
    cells: int = 1
    """Padded cells in a unit: the batch counts its bytes for each cell of a padded row."""


def splitter_for(config: UBatchConfig, batch: Batch) -> str:
    """The configured splitter; `auto` packs rows that have lengths and cuts all others evenly.

    It packs nothing where sizes are to be multiples, since what is packed is cut where its lengths say.
    """
    if config.splitter != "auto":
        return config.splitter
    return "even" if batch.shape.lengths is None or config.multiple_of > 1 else "packed"


def units_of(batch: Batch, splitter: str) -> Units:
    """`batch` counted in what `splitter` cuts by."""
    shape = batch.shape
    if shape.lengths is not None and splitter == "packed":
        longest = int(shape.lengths.max()) if len(shape.lengths) else 0
        return Units(count=max(int(shape.lengths.sum()), longest), unit="cost", longest=max(1, longest))
    if shape.query_start_loc is None:
        cells = (batch.width or 1) if shape.lengths is not None else 1
        return Units(count=shape.num_tokens, unit="rows", longest=1, cells=cells)
    if splitter in ("packed", "request-aligned"):
        lengths = shape.query_start_loc[1:] - shape.query_start_loc[:-1]
        longest = max(1, int(lengths.max()) if len(lengths) else 1)
        return Units(count=shape.num_tokens, unit="tokens", longest=longest)
    return Units(count=shape.num_tokens, unit="tokens", longest=1)


def part_units(cut: Cut, unit: str) -> tuple[int, ...]:
    """Units of each part of `cut`, in row order."""
    if unit == "cost" and cut.trims is not None:
        return tuple([piece.num_reqs * trim for piece, trim in zip(cut.slices, cut.trims, strict=True)])
    return tuple([piece.token_slice.stop - piece.token_slice.start for piece in cut.slices])


def sized_signature(signature: str, unit: str) -> str:
    """What sizes are learned for: a size in tokens says nothing of one in padded cost."""
    return signature if unit == "rows" else f"{signature} by {unit}"
