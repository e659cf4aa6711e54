"""Arguments of PyTorch for pairs, and functions that make modules.

Invariant: a module is made from one seed, so that the plain one and the wrapped one have equal weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tests.core.proof.pair import Generator, Maker, Pair, Sizes, mixing
from tests.core.proof.pair import bias as numpy_bias
from tests.core.proof.pair import column as numpy_column
from tests.core.proof.pair import floats as numpy_floats
from tests.core.proof.pair import ids as numpy_ids
from tests.core.proof.pair import matrix as numpy_matrix

WIDE = {"small": Sizes(24, 8), "large": Sizes(4096, 32)}
"""Columns that heads and groups divide."""


def tensor(make: Maker) -> Maker:
    """What `make` makes, as a tensor: float64 becomes float32."""

    def made(sizes: Sizes, rng: Generator) -> Any:
        array = np.asarray(make(sizes, rng))
        return torch.from_numpy(array.astype("f4") if array.dtype == "f8" else array)

    return made


floats = tensor(numpy_floats)
bias = tensor(numpy_bias)
column = tensor(numpy_column)


def ids(below: int | None = None) -> Maker:
    """One index a row."""
    return tensor(numpy_ids(below))


def matrix(rows: int) -> Maker:
    """Weights of another number of rows."""
    return tensor(numpy_matrix(rows))


def sequences(sizes: Sizes, rng: Generator) -> Any:
    """Three vectors a row."""
    return torch.from_numpy(rng.normal(size=(sizes.rows, 3, sizes.columns)).astype("f4"))


def images(sizes: Sizes, rng: Generator) -> Any:
    """Two planes of four by four a row."""
    return torch.from_numpy(rng.normal(size=(sizes.rows, 2, 4, 4)).astype("f4"))


def module(
    make: Callable[[Sizes], Any],
    *,
    train: bool = False,
    call: Callable[[Any], Callable[..., Any]] | None = None,
) -> Callable[[Sizes], Callable[..., Any]]:
    """Makes a module, in training or evaluation; `call(module)` is the function, else the module itself."""

    def made(sizes: Sizes) -> Callable[..., Any]:
        torch.manual_seed(7)
        built = make(sizes).train(train)
        return call(built) if call else built  # type: ignore[no-any-return]

    return made


def drawn(name: str, function: Callable[..., Any], *inputs: Maker, **how: Any) -> Pair:
    """A pair that draws random numbers."""
    return mixing(name, function, *(inputs or (floats,)), exact=True, **how)
