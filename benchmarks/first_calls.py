"""The first call of a new wrapper, against the first call of one that is told the best size.

Each call is of a wrapper that was just made, so both show first whether the function may be cut, start their
threads and make the result. Sizes are told as a user would, by `max_tokens_per_ubatch`; the best is the
fastest of them in this run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import microbatch
from benchmarks import expansion as expanding
from benchmarks import workloads
from benchmarks.table import Row, ratio_row
from benchmarks.timing import best_of, interleave

ROUNDS = 7
SLOWER = 1.25
"""How much slower than at the best size a first call may be."""


def rows() -> list[Row]:
    """Memory-bound work, and one whose intermediates do not show in its input."""
    return [black_scholes(), torch_chain(), expansion()]


def black_scholes() -> Row:
    """Four million options."""
    inputs = workloads.options(4_000_000)
    return _first(
        "Black-Scholes, 4 M options, NumPy", workloads.black_scholes, inputs, _sizes(12, 19), _equal
    )


def torch_chain() -> Row:
    """Torch, eight elementwise operations on 64 MiB."""
    import torch

    x = torch.randn(16384, 1024)
    return _first("torch, 8 elementwise ops, 64 MiB", workloads.torch_chain, (x,), _sizes(5, 11), torch.equal)


def expansion() -> Row:
    """512 rows of 1 KiB that become 1 MiB each inside of the function; later calls are in `expansion.py`."""
    work = "hidden expansion, 1 MiB a row, NumPy"
    return _first(work, workloads.expand, (expanding.inputs(),), _sizes(0, 7), expanding.close)


def _first(
    work: str,
    function: Callable[..., Any],
    inputs: tuple[Any, ...],
    sizes: tuple[int, ...],
    same: Callable[[Any, Any], bool],
) -> Row:
    variants: Mapping[str, Callable[[], Any]] = {
        "ours": lambda: microbatch.wrap(function)(*inputs),
        **{f"size {size}": partial(_of_size, function, inputs, size) for size in sizes},
    }
    timed = interleave(variants, rounds=ROUNDS, same=same)
    best = best_of(timed, "size")
    return ratio_row(
        f"first call: {work}",
        "the same at the best fixed size",
        at_least=1 / SLOWER,
        base=best.median,
        ours=timed["ours"].median,
        details={"best": best.name, "best_ms": round(best.median * 1e3, 1)},
    )


def _of_size(function: Callable[..., Any], inputs: tuple[Any, ...], size: int) -> Any:
    return microbatch.wrap(function, policy="tokens", max_tokens_per_ubatch=size)(*inputs)


def _sizes(least: int, most: int) -> tuple[int, ...]:
    return tuple([1 << exponent for exponent in range(least, most + 1)])


def _equal(got: Any, expected: Any) -> bool:
    return all(map(np.array_equal, got, expected))
