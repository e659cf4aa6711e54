"""Functions of one sample made functions of a batch by `torch.func.vmap`: gradients, and a kernel matrix.

It has a `chunk_size` that its user must find; ours is given the whole function and no size. Norms of the
gradient of each sample are what private training and the search for odd samples need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.cpu import chosen, settled
from benchmarks.table import Row, ratio_row
from benchmarks.timing import best_of, interleave

SAMPLES, WIDTH, HIDDEN, CLASSES = 1024, 128, 256, 64
"""The gradient of one sample is 192 KiB."""
POINTS = 128
"""Points of a sample; each of the arrays between is 64 KiB a sample."""
CHUNKS = (4, 16, 64, 256, 1024)


def rows() -> Sequence[Row]:
    """Both functions against the best chunk size of the sweep."""
    norms, *samples = gradient_norms()
    sums, *points = kernel_sums()
    return [
        _row(f"norms of {SAMPLES:,} per-sample gradients, torch", norms, samples),
        _row(f"kernel matrices of {SAMPLES:,} samples, torch", sums, points),
    ]


def _row(work: str, function: Callable[..., Any], inputs: Sequence[Any]) -> Row:
    import torch

    wrapped = settled(function, *inputs)
    timed = interleave(
        {
            "plain": lambda: function(*inputs),
            "ours": lambda: wrapped(*inputs),
            **{f"chunk {size}": partial(function, *inputs, chunk=size) for size in CHUNKS},
        },
        rounds=7,
        same=partial(torch.allclose, rtol=1e-4),
    )
    best = best_of(timed, "chunk")
    details = {"best": best.name, "plain_ms": round(timed["plain"].median * 1e3, 1), **chosen(wrapped)}
    against, ours = "`vmap` at its best chunk_size", timed["ours"].median
    return ratio_row(work, against, at_least=1.0, base=best.median, ours=ours, details=details)


def gradient_norms() -> tuple[Callable[..., Any], Any, Any]:
    """The function (x, y, chunk) -> norms, and its inputs."""
    import torch
    from torch.func import grad, vmap

    torch.manual_seed(5)
    first, second = torch.randn(WIDTH, HIDDEN) / WIDTH**0.5, torch.randn(HIDDEN, CLASSES) / HIDDEN**0.5

    def loss(weights: Any, x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy((x @ weights[0]).tanh() @ weights[1], y)

    def norm(x: Any, y: Any) -> Any:
        found = grad(loss)((first, second), x, y)
        return sum(leaf.square().sum() for leaf in found).sqrt()

    def norms(x: Any, y: Any, chunk: int | None = None) -> Any:
        return vmap(norm, chunk_size=chunk)(x, y)

    return norms, torch.randn(SAMPLES, WIDTH), torch.randint(0, CLASSES, (SAMPLES,))


def kernel_sums() -> tuple[Callable[..., Any], Any]:
    """The function (x, chunk) -> sums of a Gaussian kernel over the pairs of points of a sample."""
    import torch
    from torch.func import vmap

    torch.manual_seed(6)

    def total(points: Any) -> Any:
        squares = points.square().sum(1)
        distances = squares[:, None] + squares[None, :] - 2 * points @ points.T
        return (-distances / 2).exp().sum()

    def sums(x: Any, chunk: int | None = None) -> Any:
        return vmap(total, chunk_size=chunk)(x)

    return sums, torch.randn(SAMPLES, POINTS, 8)


if __name__ == "__main__":
    from benchmarks.table import show

    show("Gradients of each sample", rows())
