"""A batch that is padded to counts that an engine or a group fixed: its parts, and what is real.

Invariant: padding comes after the real tokens. A part that holds padding has its real tokens first, and parts
that are padding alone come last; they have the last request, with none of its tokens, so that attention has
something to look at (vLLM's rule). The last part holds the padded requests too. Each real token is in exactly
one of the parts without padding, as if there were none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from microbatch.cutting.covering import check_tokens, requests_of
from microbatch.cutting.slices import BatchShape, Cut, UBatchSlice, row_slices, token_slices
from microbatch.errors import ArgumentValueError, SliceError


def is_rows(shape: BatchShape) -> bool:
    """Whether each row is a request of its own, the padded ones too."""
    same = shape.num_tokens == shape.num_requests and shape.tokens_to_run == shape.requests_to_run
    return shape.query_start_loc is None and same


def padded_parts(bounds: Sequence[int], shape: BatchShape, offsets: NDArray[np.int64] | None) -> Cut:
    """The parts between `bounds`, which end at the padded number of tokens; `offsets` are the real ones."""
    real = shape.num_tokens
    if is_rows(shape):
        ends = [min(bound, real) for bound in bounds]
        return Cut(slices=row_slices(bounds), unpadded=row_slices(ends))
    requests = shape.num_requests
    held = _real_requests(bounds, shape.starts if offsets is None else offsets, real)
    none = [(requests, requests)] * (len(bounds) - 1 - len(held))
    unpadded = token_slices([min(bound, real) for bound in bounds], [*held, *none])
    last = max(requests - 1, 0), max(requests, 1)
    run = [*held, *[last for _ in none]]
    run[-1] = run[-1][0], shape.requests_to_run
    return Cut(slices=token_slices(bounds, run), unpadded=unpadded)


def shape_of(cut: Cut) -> BatchShape:
    """The counts of the batch that `cut` is of; raises ArgumentValueError where it packs requests."""
    if cut.permutation is not None or cut.trims is not None:
        raise ArgumentValueError(
            "ubatch_slices is a cut that packs requests in another order; give one of another splitter"
        )
    run, real = cut.slices, cut.real
    if not run or len(run) != len(real):
        raise SliceError(f"ubatch_slices is a cut of {len(run)} slices, {len(real)} without padding; use cut")
    return BatchShape(
        num_tokens=real[-1].token_slice.stop,
        num_requests=real[-1].req_slice.stop,
        num_tokens_padded=run[-1].token_slice.stop,
        num_reqs_padded=run[-1].req_slice.stop,
    )


def check_padded(cut: Cut, shape: BatchShape) -> None:
    """Raise SliceError unless the parts of `cut` follow each other over the padded tokens of `shape`.

    Each must hold what it holds without padding.
    """
    check_tokens(cut.slices, shape.tokens_to_run, allow_empty=True)
    for index, (run, real) in enumerate(zip(cut.slices, cut.real, strict=True)):
        if not (_within(real.token_slice, run.token_slice) and _within(real.req_slice, run.req_slice)):
            raise SliceError(
                f"slice {index} without padding ({real}) is not within slice {index} ({run}); use cut"
            )


def real_parts(cut: Cut) -> list[UBatchSlice]:
    """The parts of `cut` that hold real tokens, without padding."""
    return [part for part in cut.real if part.num_tokens]


def _real_requests(bounds: Sequence[int], offsets: NDArray[np.int64], real: int) -> list[tuple[int, int]]:
    """The requests of each part that holds real tokens."""
    edges = [bound for bound in bounds if bound < real]
    return requests_of([*edges, real], offsets) if edges else []


def _within(inner: slice, outer: slice) -> bool:
    """Whether `inner` is in `outer`, or holds nothing."""
    return bool(inner.start == inner.stop or (inner.start >= outer.start and inner.stop <= outer.stop))
