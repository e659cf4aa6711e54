"""Black-Scholes of 8 million options: against 25 loops written by hand, and against those who compile.

The function of ours is plain NumPy that knows of nothing; JAX, numba and numexpr have the formula written for
them, and JAX its inputs as arrays of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import microbatch
from benchmarks import peer_formulas, workloads
from benchmarks.cpu import chosen, settled
from benchmarks.hand_loops import Work, variants
from benchmarks.installed import missing
from benchmarks.table import Row, ratio_row, skipped_row
from benchmarks.timing import Timed, Variant, best_of, interleave

COUNT = 8_000_000
SIZES = (16_384, 32_768, 65_536, 131_072, 262_144)
"""Options in a part of a hand loop; 64k are 256 KiB an array."""
WORK = "Black-Scholes, 8 M options, NumPy"


def rows() -> Sequence[Row]:
    """Hand loops, then those who compile, then first results."""
    inputs = workloads.options(COUNT)
    wrapped = settled(workloads.black_scholes, *inputs)
    return [*by_hand(wrapped, inputs), *compiled(wrapped, inputs), first_results(inputs)]


def work_of(inputs: tuple[Any, ...]) -> Work:
    """What the hand loops run."""
    return Work(
        function=workloads.black_scholes,
        inputs=inputs,
        join=lambda parts: tuple(np.concatenate(column) for column in zip(*parts, strict=True)),
        empty=lambda: (np.empty_like(inputs[0]), np.empty_like(inputs[0])),
    )


def by_hand(wrapped: microbatch.UBatchWrapper, inputs: tuple[Any, ...]) -> Sequence[Row]:
    """Two workers and one, a fresh result and a kept one: ours writes into a kept one by `out=`."""
    work = work_of(inputs)
    kept = work.empty()
    timed = interleave(
        {
            "plain": lambda: workloads.black_scholes(*inputs),
            "ours": lambda: wrapped(*inputs),
            "ours kept": lambda: wrapped(*inputs, out=kept),
            **variants(work, SIZES),
        },
        rounds=5,
        same=_equal,
    )
    one = min(best_of(timed, "cat"), best_of(timed, "one fresh"), key=lambda entry: entry.median)
    against = "best hand loop,"
    return [
        _row(f"{against} 2 workers, fresh result", 1.0, best_of(timed, "two fresh"), timed, wrapped),
        _row(f"{against} 2 workers, kept result", 1.0, best_of(timed, "two kept"), timed, wrapped),
        _row(f"{against} 1 worker, fresh result", 1.6, one, timed, wrapped),
        _row(f"{against} 1 worker, kept result", 1.6, best_of(timed, "one kept"), timed, wrapped),
    ]


def _row(
    against: str, at_least: float, base: Timed, timed: Mapping[str, Timed], wrapped: microbatch.UBatchWrapper
) -> Row:
    ours = timed["ours kept" if "kept" in base.name else "ours"]
    details = {"best": base.name, "plain_ms": round(timed["plain"].median * 1e3, 1), **chosen(wrapped)}
    return ratio_row(WORK, against, at_least=at_least, base=base.median, ours=ours.median, details=details)


PEERS: Mapping[str, tuple[str, float, Sequence[Callable[[], Callable[..., Any]]]]] = {
    "jax": ("`jax.jit`, warm", 0.9, (peer_formulas.by_jax,)),
    "numba": (
        "numba `parallel=True`, warm, its best of two",
        1.0,
        (peer_formulas.by_numba, peer_formulas.by_numba_arrays),
    ),
    "numexpr": ("numexpr, warm", 1.0, (peer_formulas.by_numexpr,)),
}
"""Module -> what the row calls it, the aim, and the ways to write it."""


def compiled(wrapped: microbatch.UBatchWrapper, inputs: tuple[Any, ...]) -> Sequence[Row]:
    """Each that is installed, all in the same rounds."""
    calls: dict[str, Variant] = {
        "plain": lambda: workloads.black_scholes(*inputs),
        "ours": lambda: wrapped(*inputs),
    }
    for module, (_, _, ways) in PEERS.items():
        for number, make in enumerate([] if missing(module) else ways):
            calls[f"{module} {number}"] = warm(make(), module, inputs)
    timed = interleave(calls, rounds=7, same=_close)
    return [_peer_row(module, timed) for module in PEERS]


def warm(call: Callable[..., Any], module: str, inputs: tuple[Any, ...]) -> Variant:
    """The call on its own kind of arrays, after it was called once."""
    if module == "jax":
        import jax.numpy as jnp

        inputs = tuple(map(jnp.asarray, inputs))
    call(*inputs)
    return lambda: call(*inputs)


def _peer_row(module: str, timed: Mapping[str, Timed]) -> Row:
    against, at_least, _ = PEERS[module]
    if missing(module):
        return skipped_row(WORK, against, missing(module))
    best = best_of(timed, module)
    return ratio_row(WORK, against, at_least=at_least, base=best.median, ours=timed["ours"].median)


def first_results(inputs: tuple[Any, ...]) -> Row:
    """Three calls of what was just made, so that what is compiled and what is shown first are counted."""
    against = "`jax.jit`, 3 calls with the first"
    if missing("jax"):
        return skipped_row(WORK, against, missing("jax"))
    import jax
    import jax.numpy as jnp

    theirs = tuple(map(jnp.asarray, inputs))

    def new_jit() -> Any:
        jax.clear_caches()
        return _three(peer_formulas.by_jax(), theirs)

    calls: dict[str, Variant] = {
        "ours": lambda: _three(microbatch.wrap(workloads.black_scholes), inputs),
        "jax": new_jit,
    }
    timed = interleave(calls, rounds=5, same=_close)
    return ratio_row(WORK, against, at_least=2, base=timed["jax"].median, ours=timed["ours"].median)


def _three(call: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    call(*inputs)
    call(*inputs)
    return call(*inputs)


def _equal(got: Any, plain: Any) -> bool:
    return all(map(np.array_equal, got, plain))


def _close(got: Any, plain: Any) -> bool:
    """Values of up to 150 whose formula was computed in another order, in float32."""
    return all(bool(np.allclose(a, b, rtol=1e-4, atol=2e-3)) for a, b in zip(got, plain, strict=True))


if __name__ == "__main__":
    from benchmarks.table import show

    show("Black-Scholes", rows())
