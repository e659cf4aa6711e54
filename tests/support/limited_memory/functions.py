"""Functions that need many times their input, and how much: made from a seed, so that a child makes the same.

Invariant: what a call of n rows needs above its input is at least `n * per_row` bytes, the result included.
Each passes a yield point while it holds what it made: ubatches that take turns hold all of theirs at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from microbatch.dbo import dbo_yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A function, and what it needs."""

    function: Callable[[Any], Any]
    """Rows -> one result a row: an array, or a dict of arrays."""
    columns: int
    """Numbers in a row of its input, 4 bytes each."""
    per_row: int
    """Bytes that a row needs at least while it is worked on, its result included."""
    result_per_row: int
    """Bytes of its result."""
    torch: bool = False
    """Whether it takes tensors."""


def whole_numbers(rng: np.random.Generator, *shape: int) -> Any:
    """Small whole numbers as floats: sums and products of them are exact in any order."""
    return rng.integers(-4, 5, shape, np.int8).astype(np.float32)


def chain(rng: np.random.Generator) -> Work:
    """A formula that NumPy works out array after array."""
    columns = _size(rng, 2, 64)

    def function(x: Any) -> Any:
        squared = x * x
        shifted = squared + 1
        dbo_yield()
        product = squared * shifted
        return product - shifted * 2 + x

    return Work(function=function, columns=columns, per_row=4 * 4 * columns, result_per_row=4 * columns)


def nearest(rng: np.random.Generator) -> Work:
    """The nearest of many points: a row of distances for each row, and one number of it."""
    columns, many = _size(rng, 2, 16), _size(rng, 200, 30_000)
    points = whole_numbers(rng, many, columns)
    norms = (points * points).sum(1)

    def function(x: Any) -> Any:
        products = 2 * (x @ points.T)
        dbo_yield()
        return (norms - products).argmin(1)

    return Work(function=function, columns=columns, per_row=2 * 4 * many, result_per_row=8)


def differences(rng: np.random.Generator) -> Work:
    """Each row against many points in every column at once: a row of some bytes needs up to megabytes."""
    columns, many = _size(rng, 1, 6), _size(rng, 2_000, 60_000)
    points = whole_numbers(rng, many, columns)

    def function(x: Any) -> Any:
        apart = x[:, None, :] - points
        dbo_yield()
        return np.abs(apart).sum(2).min(1)

    return Work(function=function, columns=columns, per_row=2 * 4 * many * columns, result_per_row=4)


def expansion(rng: np.random.Generator) -> Work:
    """Rows that are made many times as wide, and narrow again."""
    columns, times = _size(rng, 1, 8), _size(rng, 20, 5_000)

    def function(x: Any) -> Any:
        wide = np.repeat(x, times, axis=1)
        dbo_yield()
        return (wide * wide + wide).sum(1)

    return Work(function=function, columns=columns, per_row=2 * 4 * columns * times, result_per_row=4)


def wide_result(rng: np.random.Generator) -> Work:
    """A result that is several times the input, and is made from things as large as itself."""
    columns, times = _size(rng, 1, 8), _size(rng, 4, 30)
    wide = 4 * columns * times

    def function(x: Any) -> Any:
        wide = np.tile(x, times)
        dbo_yield()
        return (wide + 1) * (wide - 1) - wide

    return Work(function=function, columns=columns, per_row=3 * wide, result_per_row=wide)


def several_results(rng: np.random.Generator) -> Work:
    """A wide result and a narrow one, of which the wide one is smaller than what it is made from."""
    columns, times = _size(rng, 2, 8), _size(rng, 6, 30)
    wide = 4 * columns * times

    def function(x: Any) -> Any:
        wide = np.repeat(x, times, axis=1)
        squares = wide * wide
        dbo_yield()
        return {"half": (squares - wide)[:, ::2], "sum": squares.astype(np.float64).sum(1)}

    return Work(function=function, columns=columns, per_row=4 * wide, result_per_row=wide + 8)


def matmul(rng: np.random.Generator) -> Work:
    """Two layers with a wide one between them."""
    import torch

    columns, wide = _size(rng, 4, 32), _size(rng, 200, 20_000)
    there, back = (torch.from_numpy(whole_numbers(rng, *shape)) for shape in ((columns, wide), (wide, 4)))

    def function(x: Any) -> Any:
        hidden = x @ there
        dbo_yield()
        return torch.relu(hidden) @ back

    return Work(function=function, columns=columns, per_row=2 * 4 * wide, result_per_row=16, torch=True)


def softmax(rng: np.random.Generator) -> Work:
    """Attention of each row over many keys."""
    import torch

    columns, many = _size(rng, 4, 32), _size(rng, 200, 20_000)
    keys = torch.from_numpy(whole_numbers(rng, many, columns))

    def function(x: Any) -> Any:
        scores = x @ keys.T
        dbo_yield()
        return torch.softmax(scores, dim=1) @ keys

    return Work(
        function=function, columns=columns, per_row=2 * 4 * many, result_per_row=4 * columns, torch=True
    )


def einsum(rng: np.random.Generator) -> Work:
    """Outer products of each row with itself, summed with weights."""
    import torch

    columns = _size(rng, 8, 80)
    weights = torch.from_numpy(whole_numbers(rng, columns, columns))

    def function(x: Any) -> Any:
        outer = torch.einsum("ni,nj->nij", x, x)
        dbo_yield()
        return torch.einsum("nij,ij->n", outer * outer, weights)

    return Work(function=function, columns=columns, per_row=2 * 4 * columns**2, result_per_row=4, torch=True)


def _size(rng: np.random.Generator, least: int, most: int) -> int:
    """A number between the two, small ones as likely as large ones."""
    return int(least * (most / least) ** rng.random())


NUMPY = (chain, nearest, differences, expansion, wide_result, several_results)
"""Those that need no torch."""
TORCH = (matmul, softmax, einsum)
"""Those that do."""
MAKERS: Mapping[str, Callable[[np.random.Generator], Work]] = MappingProxyType(
    {made.__name__: made for made in (*NUMPY, *TORCH)}
)
"""By name."""
