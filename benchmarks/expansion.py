"""A function whose intermediates do not show in its input: 1 MiB for each row of 1 KiB.

Against the best hand loop of 1 to 128 rows: in the first call of a new wrapper and in later ones, quiet and
with two busy processes beside it, the wrapper of later calls being made beside them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

import microbatch
from benchmarks import workloads
from benchmarks.busy import busy
from benchmarks.cpu import chosen, settled
from benchmarks.table import Row, ratio_row
from benchmarks.timing import best_of, interleave

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
FIRST, LATER = 1.25, 1.15
"""How much slower than the best loop a call may be."""
WORK = "hidden expansion, 1 MiB a row, NumPy"


def rows() -> Sequence[Row]:
    """First and later, without and with others."""
    x = inputs()
    quiet = measured(x, WORK)
    with busy(2):
        return [*quiet, *measured(x, f"{WORK}, beside 2 busy processes")]


def inputs() -> Any:
    """512 rows."""
    return np.random.default_rng(4).standard_normal((512, 256)).astype(np.float32)


def measured(x: Any, work: str) -> Sequence[Row]:
    """Both rows, of the same rounds."""
    wrapped = settled(workloads.expand, x)
    loops = {f"loop {size}": partial(loop, x, size) for size in SIZES}
    timed = interleave(
        {"ours": lambda: wrapped(x), "ours first": lambda: microbatch.wrap(workloads.expand)(x), **loops},
        rounds=7,
        same=close,
    )
    best = best_of(timed, "loop")
    return [
        ratio_row(
            work,
            f"best hand loop of 1 to 128 rows, {call} call",
            at_least=round(1 / slower, 2),
            base=best.median,
            ours=timed[ours].median,
            details={"best": best.name, **chosen(wrapped)},
        )
        for call, ours, slower in (("first", "ours first", FIRST), ("later", "ours", LATER))
    ]


def loop(x: Any, size: int) -> Any:
    """The hand-written loop."""
    return np.concatenate([workloads.expand(x[start : start + size]) for start in range(0, len(x), size)])


def close(got: Any, plain: Any) -> bool:
    """Sums of a million numbers, in another order."""
    return bool(np.allclose(got, plain, rtol=1e-5))


if __name__ == "__main__":
    from benchmarks.table import show

    show("Hidden expansion", rows())
