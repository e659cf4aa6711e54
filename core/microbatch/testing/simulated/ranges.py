"""Which bytes of a block a view covers.

Invariant: ranges are exact for up to 64 runs of bytes; beyond that the bounding range stands for them, and is
marked inexact, so that a checker may say so instead of guessing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

MOST_RUNS = 64
"""Runs of a strided view that are listed one by one."""


def byte_ranges(view: np.ndarray, start: int) -> tuple[tuple[tuple[int, int], ...], bool]:
    """((low, high), ...) of `view` relative to address `start`, and whether they are exact."""
    if view.size == 0:
        return (), True
    low = view.__array_interface__["data"][0] - start
    if view.flags.c_contiguous or view.flags.f_contiguous:
        return ((low, low + view.nbytes),), True
    return runs_of(low, view.itemsize, view.shape, view.strides)


def runs_of(
    low: int, itemsize: int, shape: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[tuple[int, int], ...], bool]:
    """The same for elements of `itemsize` bytes, of which there is at least one; `strides` are in bytes and
    `low` is where the first element begins."""
    walked = zip(strides, shape, strict=True)
    axes = sorted(((abs(step), size, step) for step, size in walked if size > 1 and step), reverse=True)
    low += sum(step * (size - 1) for _, size, step in axes if step < 0)
    run = itemsize
    while axes and axes[-1][0] <= run:
        stride, size, _ = axes.pop()
        run += stride * (size - 1)
    if math.prod(size for _, size, _ in axes) > MOST_RUNS:
        return ((low, low + run + sum(stride * (size - 1) for stride, size, _ in axes)),), False
    steps = [range(0, stride * size, stride) for stride, size, _ in axes]
    starts = sorted({low + sum(offsets) for offsets in itertools.product(*steps)})
    return _joined([(place, place + run) for place in starts]), True


def _joined(runs: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Runs that touch or overlap, as one."""
    joined = [runs[0]]
    for low, high in runs[1:]:
        if low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)
