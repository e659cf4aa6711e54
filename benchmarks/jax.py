"""JAX: `wrap(jax.jit(f))(x)` with no size given, against the best `jax.lax.map(f, x, batch_size=)` of a
sweep.

Each result is compared with the plain call's. A size is compiled once; what is compiled for the sweep costs
the rival nothing here, while all that the wrapper compiles until it has settled, the calls on a few rows
included, is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import microbatch
from benchmarks.table import Row, ratio_row
from benchmarks.timing import best_of, interleave

SIZES = (16, 64, 256, 1024, 4096, 16384)
"""Batch sizes of the sweep."""
SETTLE = 30
"""Calls before times are taken: by then the wrapper measures nothing any more."""
MOST = 3
"""Times that the function may be compiled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A function of one row, and rows for it."""

    name: str
    """What it does."""
    row: Callable[[Any], Any]
    """The function, for `lax.map`; the wrapper is given it with `vmap` and `jit`."""
    rows: Any
    """The batch."""


def table() -> Sequence[Row]:
    """Two rows for each kind of work: time, and compilations."""
    return [row for work in works() for row in compared(work)]


def works() -> Sequence[Work]:
    """Attention to many points, nearest neighbours, sorting, and a chain that XLA makes one loop of."""
    draw = np.random.default_rng(0)
    points = jnp.asarray(draw.normal(size=(2048, 64)).astype("f4"))
    rows = jnp.asarray(draw.normal(size=(20_000, 64)).astype("f4"))
    wide = jnp.asarray(draw.normal(size=(20_000, 256)).astype("f4"))
    return [
        Work(name="attention of 20,000 rows to 2,048 points", row=partial(_attention, points), rows=rows),
        Work(name="8 nearest of 2,048 points", row=partial(_nearest, points), rows=rows[:8192]),
        Work(name="sorting 20,000 x 256", row=lambda row: jnp.cumsum(jnp.sort(row)), rows=wide),
        Work(name="8 elementwise operations", row=_chain, rows=jnp.tile(rows, (5, 1))),
    ]


def compared(work: Work) -> Sequence[Row]:
    """How fast, and how often compiled."""
    traced: list[int] = []

    def counted(x: Any) -> Any:
        traced.append(x.shape[0])
        return jax.vmap(work.row)(x)

    wrapped = microbatch.wrap(jax.jit(counted))
    for _ in range(SETTLE):
        wrapped(work.rows).block_until_ready()
    plain = jax.jit(jax.vmap(work.row))
    variants: dict[str, Callable[[], Any]] = {"plain": lambda: plain(work.rows).block_until_ready()}
    variants["ours"] = lambda: wrapped(work.rows).block_until_ready()
    for size in SIZES:
        mapped = jax.jit(partial(jax.lax.map, work.row, batch_size=size))
        variants[f"map {size}"] = partial(_waited, mapped, work.rows)
    timed = interleave(variants, rounds=7, same=_same)
    rival, ours, report = best_of(timed, "map"), timed["ours"], wrapped.last_report
    assert report is not None
    details = {"best": rival.name, "plain_ms": round(timed["plain"].median * 1e3, 1), "reason": report.reason}
    speed = ratio_row(
        work.name, "the best lax.map", at_least=1.0, base=rival.median, ours=ours.median, details=details
    )
    compilations = Row(
        work=work.name,
        against="compilations",
        aim=f"<= {MOST}",
        measured=str(len(traced)),
        reached=len(traced) <= MOST,
        details={"rows": sorted(traced)},
    )
    return [speed, compilations]


def _waited(function: Callable[[Any], Any], rows: Any) -> Any:
    return function(rows).block_until_ready()


def _same(found: Any, plain: Any) -> bool:
    return type(found) is type(plain) and np.allclose(found, plain, rtol=1e-4, atol=1e-4)


def _attention(points: Any, row: Any) -> Any:
    return jax.nn.softmax(2 * points @ row - (points * points).sum(-1)) @ points


def _nearest(points: Any, row: Any) -> Any:
    return jax.lax.top_k(2 * points @ row - (points * points).sum(-1), 8)[0]


def _chain(row: Any) -> Any:
    for _ in range(4):
        row = jnp.sin(row) * 1.5 + row
    return row
