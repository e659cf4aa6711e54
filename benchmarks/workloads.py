"""The functions that the CPU tables run, written as a user would write them, knowing nothing of ubatches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def torch_chain(x: Any) -> Any:
    """Eight cheap elementwise operations on rows of 1024 floats."""
    y = x * 1.5
    y = y + 0.25
    y = y.relu()
    y = y * 0.5
    y = y - 0.125
    y = y.clamp(-1.0, 1.0)
    y = y.square()
    return y + 1.0


def _erf(x: Floats) -> Floats:
    """Abramowitz and Stegun 7.1.26, absolute error 1.5e-7."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1 - poly * np.exp(-x * x))


def black_scholes(price: Floats, strike: Floats, years: Floats) -> tuple[Floats, Floats]:
    """Call and put values at 2 % interest and 30 % volatility; one option a row."""
    rate, volatility = np.float32(0.02), np.float32(0.3)
    spread = volatility * np.sqrt(years)
    d1 = (np.log(price / strike) + (rate + volatility * volatility / 2) * years) / spread
    d2 = d1 - spread
    discount = strike * np.exp(-rate * years)
    n1, n2 = (1 + _erf(d1 / np.float32(1.4142135))) / 2, (1 + _erf(d2 / np.float32(1.4142135))) / 2
    call = price * n1 - discount * n2
    return call, call - price + discount


def expand(x: Floats) -> Floats:
    """A number a row, by way of 1,024 times as many as the row has: nothing of that shows in the input."""
    wide = np.tanh(x[:, :, None] * np.linspace(-1, 1, 1024, dtype=np.float32))
    return (wide * wide + 1).sum(axis=(1, 2))


def options(count: int) -> tuple[Floats, Floats, Floats]:
    """Drawn options: price and strike around 100, a quarter to two years."""
    rng = np.random.default_rng(0)
    return (
        rng.uniform(50, 150, count).astype(np.float32),
        rng.uniform(50, 150, count).astype(np.float32),
        rng.uniform(0.25, 2, count).astype(np.float32),
    )


def normalise(images: NDArray[np.uint8]) -> Floats:
    """Images [n, h, w, 3] u8 to f32 with the ImageNet mean and deviation."""
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    return (images.astype(np.float32) / np.float32(255) - mean) / deviation


def nearest(points: Any) -> Callable[[Any], Any]:
    """A function that finds the 10 nearest of `points` [m, d] for each query row (torch)."""
    import torch

    norms = (points * points).sum(1)

    def top(queries: Any) -> Any:
        distances = (queries * queries).sum(1, keepdim=True) - 2 * queries @ points.T + norms
        values, indices = torch.topk(distances, 10, dim=1, largest=False)
        return values, indices

    return top


def numpy_mlp(width: int = 512, hidden: int = 2048) -> Callable[[Floats], Floats]:
    """x @ W1, relu, @ W2: bound by the two matrix products."""
    rng = np.random.default_rng(1)
    first = (rng.standard_normal((width, hidden)) / width**0.5).astype(np.float32)
    second = (rng.standard_normal((hidden, width)) / hidden**0.5).astype(np.float32)

    def mlp(x: Floats) -> Floats:
        return np.maximum(x @ first, 0) @ second

    return mlp


def torch_mlp(width: int = 512, hidden: int = 2048) -> Any:
    """The same as a torch module in evaluation mode."""
    import torch

    torch.manual_seed(1)
    layers = [torch.nn.Linear(width, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, width)]
    return torch.nn.Sequential(*layers).eval().requires_grad_(False)
