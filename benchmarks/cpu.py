"""The CPU table: memory-bound work, matrix products, and what a call costs. `python -m benchmarks cpu`.

Default settings, nothing tuned by hand. Our wrappers run a few calls first, in which they settle on a size,
as they would in a loop of a user; the hand-written loop is shown at the best of its sizes, found in the same
run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import microbatch
from benchmarks import workloads
from benchmarks.hand_loops import Work
from benchmarks.possible import by_hand
from benchmarks.table import Row, ratio_row
from benchmarks.timing import best_of, interleave

SETTLE = 24
"""Calls before measuring: enough for `auto` to have tried its candidates."""


def table() -> list[Row]:
    """All rows of the CPU table."""
    from benchmarks import costs, first_calls, knn, machine

    rows = [
        *machine.rows(),
        torch_chain(),
        black_scholes(),
        normalise(),
        *first_calls.rows(),
        *knn.rows(),
        *numpy_mlp(),
        *torch_mlp(),
    ]
    return rows + costs.rows()


def settled(function: Callable[..., Any], *inputs: Any, calls: int = SETTLE) -> microbatch.UBatchWrapper:
    """The wrapped function after its first calls."""
    wrapped = microbatch.wrap(function)
    for _ in range(calls):
        wrapped(*inputs)
    return wrapped


def chosen(wrapped: microbatch.UBatchWrapper) -> dict[str, Any]:
    """What our side settled on."""
    report = wrapped.last_report
    assert report is not None
    return {"parts": report.num_ubatches, "schedule": report.schedule, "workers": report.workers}


def loops(
    function: Callable[..., Any],
    join: Callable[[list[Any]], Any],
    inputs: tuple[Any, ...],
    counts: tuple[int, ...],
) -> dict[str, Callable[[], Any]]:
    """Hand-written loops: cut into n, call, join."""

    def loop(count: int) -> Any:
        size = -(-len(inputs[0]) // count)
        starts = range(0, len(inputs[0]), size)
        return join([function(*(leaf[start : start + size] for leaf in inputs)) for start in starts])

    return {f"loop {count}": lambda count=count: loop(count) for count in counts}


def torch_chain() -> Row:
    """Torch, eight elementwise operations on 64 MiB."""
    import torch

    x = torch.randn(16384, 1024)
    wrapped = settled(workloads.torch_chain, x)
    variants: dict[str, Callable[[], Any]] = {
        "plain": lambda: workloads.torch_chain(x),
        "ours": lambda: wrapped(x),
        **loops(workloads.torch_chain, torch.cat, (x,), (4, 8, 16, 32, 64)),
    }
    timed = interleave(variants, rounds=9, same=torch.equal)
    best = best_of(timed, "loop")
    details = {"best_loop": best.name, "plain_ms": round(timed["plain"].median * 1e3, 1), **chosen(wrapped)}
    return ratio_row(
        "torch, 8 elementwise ops, 64 MiB",
        "best hand loop + cat",
        at_least=2,
        base=best.median,
        ours=timed["ours"].median,
        details=details,
    )


def _numpy_row(
    work: str,
    function: Callable[..., Any],
    inputs: tuple[Any, ...],
    join: Callable[[list[Any]], Any],
    same: Callable[[Any, Any], bool],
    counts: tuple[int, ...],
) -> Row:
    wrapped = settled(function, *inputs)
    variants: dict[str, Callable[[], Any]] = {
        "plain": lambda: function(*inputs),
        "ours": lambda: wrapped(*inputs),
        **loops(function, join, inputs, counts),
    }
    timed = interleave(variants, rounds=7, same=same)
    best = best_of(timed, "loop")
    details = {"best_loop": best.name, "plain_ms": round(timed["plain"].median * 1e3, 1), **chosen(wrapped)}
    return ratio_row(
        work,
        "best hand loop + concatenate",
        at_least=2,
        base=best.median,
        ours=timed["ours"].median,
        details=details,
    )


def black_scholes() -> Row:
    """Eight million options."""
    return _numpy_row(
        "Black-Scholes, 8 M options, NumPy",
        workloads.black_scholes,
        workloads.options(8_000_000),
        lambda parts: tuple(np.concatenate(column) for column in zip(*parts, strict=True)),
        lambda got, plain: all(np.array_equal(a, b) for a, b in zip(got, plain, strict=True)),
        (8, 32, 128, 256),
    )


def normalise() -> Row:
    """256 images of 224 x 224."""
    images = np.random.default_rng(2).integers(0, 256, (256, 224, 224, 3), np.uint8)
    return _numpy_row(
        "image normalise 256x224x224x3, NumPy",
        workloads.normalise,
        (images,),
        np.concatenate,
        np.array_equal,
        (16, 64, 256),
    )


def _never_slower(work: str, loops: Work, close: Callable[[Any, Any], bool]) -> Sequence[Row]:
    """Against the plain call, and against the best by hand."""
    function, (x,) = loops.function, loops.inputs
    wrapped = settled(function, x)
    variants = {"plain": lambda: function(x), "ours": lambda: wrapped(x)}
    timed = interleave(variants, rounds=61, same=close)
    settled_row = ratio_row(
        work,
        "the plain call",
        at_least=0.98,
        base=timed["plain"].median,
        ours=timed["ours"].median,
        details=chosen(wrapped),
    )
    return [settled_row, by_hand(work, loops, (256, 512, 1024), lambda: wrapped(x), close)]


def numpy_mlp() -> Sequence[Row]:
    """2048 rows through 512-2048-512, NumPy."""
    x = np.random.default_rng(3).standard_normal((2048, 512)).astype(np.float32)
    loops = Work(
        function=workloads.numpy_mlp(), inputs=(x,), join=np.concatenate, empty=lambda: (np.empty_like(x),)
    )
    return _never_slower(
        "ReLU MLP, NumPy", loops, lambda got, plain: bool(np.allclose(got, plain, atol=1e-4))
    )


def torch_mlp() -> Sequence[Row]:
    """2048 rows through 512-2048-512, torch."""
    import torch

    x = torch.randn(2048, 512)
    loops = Work(
        function=workloads.torch_mlp(), inputs=(x,), join=torch.cat, empty=lambda: (torch.empty_like(x),)
    )
    return _never_slower("ReLU MLP, torch", loops, lambda got, plain: torch.allclose(got, plain, atol=1e-4))
