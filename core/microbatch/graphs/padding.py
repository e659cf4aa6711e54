"""From a call's rows to the rows of a captured call, and back.

Invariant: added rows repeat the last real one (zeros could make NaN) and never reach a result: outputs are
trimmed to the real rows, and only where the first such result equalled the plain call's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from microbatch.arrays.looks import is_array
from microbatch.extend.protocols import Backend


def bucket_of(rows: int, sizes: Sequence[int]) -> int | None:
    """The smallest of the increasing `sizes` that holds `rows`; None above the largest."""
    place = bisect_left(sizes, rows)
    return sizes[place] if place < len(sizes) else None


def resized(leaves: Sequence[Any], rows: int | None, backend: Backend) -> list[Any]:
    """New arrays with the values of `leaves`, cut or padded to `rows`; None keeps their own rows."""

    def room_for(leaf: Any) -> Any:
        shape = tuple(leaf.shape)
        return backend.empty((rows, *shape[1:]) if rows is not None and shape else shape, leaf)

    made = [room_for(leaf) if is_array(leaf) else leaf for leaf in leaves]
    fill(made, leaves, backend)
    return made


def fill(static: Sequence[Any], leaves: Sequence[Any], backend: Backend) -> None:
    """Write the arrays of `leaves` to those of `static`; missing rows repeat the last, more are left out."""
    for target, leaf in zip(static, leaves, strict=True):
        if not is_array(leaf):
            continue
        if tuple(target.shape) == tuple(leaf.shape):
            backend.copy(target, leaf)
            continue
        rows, wanted = int(leaf.shape[0]), int(target.shape[0])
        kept = min(rows, wanted)
        backend.copy(target[:kept], leaf[:kept])
        if wanted > rows:
            backend.copy(target[rows:], backend.take(leaf, [rows - 1] * (wanted - rows), 0))


def outputs_of(
    outputs: Sequence[Any], trimmed: Sequence[bool], rows: int | None, backend: Backend
) -> list[Any]:
    """Copies of a graph's outputs, which its next replay overwrites; those with rows cut to the real ones."""
    made = []
    for leaf, trim in zip(outputs, trimmed, strict=True):
        if not is_array(leaf):
            made.append(leaf)
            continue
        source = leaf[:rows] if trim else leaf
        copied = backend.empty(tuple(source.shape), source)
        backend.copy(copied, source)
        made.append(copied)
    return made
