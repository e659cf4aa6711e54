"""Modules: by rows in evaluation; in training some mix rows, keep statistics or draw."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from tests.core.proof.holders import Plain
from tests.core.proof.pair import FEWER, Pair, Sizes, mixing, row_wise, wrapped_in
from tests.core.proof.torch_pair import WIDE, drawn, floats, images, module, sequences


def perceptron(sizes: Sizes) -> Any:
    """Two layers."""
    return nn.Sequential(nn.Linear(sizes.columns, 16), nn.ReLU(), nn.Linear(16, 3))


def with_norm(sizes: Sizes) -> Any:
    """Two layers with batch statistics."""
    return nn.Sequential(nn.Linear(sizes.columns, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def with_dropout(sizes: Sizes) -> Any:
    """Two layers and dropout."""
    return nn.Sequential(nn.Linear(sizes.columns, 16), nn.Dropout(0.5), nn.Linear(16, 3))


def attention(sizes: Sizes) -> Any:
    """Two heads, over sequences of a row."""
    return nn.MultiheadAttention(sizes.columns, 2, batch_first=True)


def attention_of_rows(sizes: Sizes) -> Any:
    """Two heads, over the rows."""
    return nn.MultiheadAttention(sizes.columns, 2)


def encoder(sizes: Sizes) -> Any:
    """A layer of a transformer."""
    return nn.TransformerEncoderLayer(sizes.columns, 2, 16, dropout=0.1, batch_first=True)


class Counting(nn.Module):
    """Counts its calls in a buffer, in any mode, and tells."""

    def __init__(self, *, tells: bool) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.calls: Any
        self.tells = tells

    def forward(self, a: Any) -> Any:
        self.calls += 1
        return a * self.calls if self.tells else a * 2


class Centred(nn.Module):
    """Takes off a running mean, in any mode."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.mean: Any

    def forward(self, a: Any) -> Any:
        self.mean.lerp_(a.mean(0), 0.1)
        return a - self.mean


class Table(nn.Module):
    """Adds a row of a table to each row, by its place."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.arange(sizes.rows * 1.0)[:, None].repeat(1, sizes.columns))

    def forward(self, a: Any) -> Any:
        return a + self.table[: len(a)]


class Scratch(nn.Module):
    """Works in a buffer that is no state."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.register_buffer("work", torch.zeros(sizes.rows, sizes.columns), persistent=False)
        self.work: Any

    def forward(self, a: Any) -> Any:
        part = torch.mul(a, 2, out=self.work[: len(a)])
        return part.add_(1).clone()


def cached(a: Any, cache: Any) -> Any:
    """Attention over a cache that is passed in."""
    return nn.functional.scaled_dot_product_attention(a, cache.y[: len(a)], cache.y[: len(a)])


def masked(a: Any, mask: Any) -> Any:
    """Attention with a mask for each row in an object."""
    return nn.functional.scaled_dot_product_attention(a, a, a, attn_mask=mask.y[: len(a)])


def masks(sizes: Sizes, rng: Any) -> Any:
    """Which of three vectors may be looked at."""
    return torch.from_numpy(rng.random((sizes.rows, 3, 3)) > 0.3) | torch.eye(3, dtype=torch.bool)


def recorded(built: Any) -> Any:
    """A function of (parameters, a), called without the parameters of the module itself."""
    shell = copy.deepcopy(built)
    return lambda parameters, a: torch.func.functional_call(shell, parameters, (a,))


def named(sizes: Sizes, rng: Any) -> Any:
    """Parameters of a perceptron."""
    torch.manual_seed(7)
    return {name: one.detach() for name, one in perceptron(sizes).named_parameters()}


def halves(built: Any) -> Any:
    """Twice the module, in a dict."""
    return lambda a: {"once": built(a), "twice": built(a) * 2}


MODULES: tuple[Pair, ...] = (
    row_wise("a layer", module(lambda s: nn.Linear(s.columns, 11)), floats, made=True),
    row_wise("a layer as wide as the batch", module(lambda s: nn.Linear(s.columns, s.rows)), floats,
             made=True, **FEWER),
    row_wise("a perceptron", module(perceptron), floats, made=True),
    mixing("a perceptron in training", module(perceptron, train=True), floats, made=True),
    row_wise("a perceptron without gradients", module(perceptron, call=torch.no_grad()), floats, made=True),
    row_wise("a perceptron's dict", module(perceptron, call=halves), floats, made=True),
    row_wise("parameters first", module(perceptron, call=recorded), named, floats, made=True),
    row_wise("batch norm in evaluation", module(with_norm), floats, made=True),
    row_wise("dropout in evaluation", module(with_dropout), floats, made=True),
    row_wise("layer norm", module(lambda s: nn.LayerNorm(s.columns)), floats, made=True),
    row_wise("group norm", module(lambda s: nn.GroupNorm(2, s.columns)), floats, made=True, **WIDE),
    row_wise("convolution of images", module(lambda s: nn.Conv2d(2, 3, 3, padding=1)), images, made=True),
    row_wise("attention in a row", module(attention, call=lambda m: lambda a: m(a, a, a)), sequences,
             made=True, **WIDE),
    row_wise("attention in a row, without weights",
             module(attention, call=lambda m: lambda a: m(a, a, a, need_weights=False)[0]), sequences,
             made=True, **WIDE),
    row_wise("a transformer's layer", module(encoder), sequences, made=True, **WIDE),
    row_wise("a recurrent network over a row",
             module(lambda s: nn.GRU(s.columns, 4, batch_first=True), call=lambda m: lambda a: m(a)[0]),
             sequences, made=True, **FEWER),
    mixing("a recurrent network and its state", module(lambda s: nn.GRU(s.columns, 4, batch_first=True)),
           sequences, made=True, **FEWER),
    mixing("a recurrent network over the rows", module(lambda s: nn.GRU(s.columns, 4)), floats, made=True,
           **FEWER),
    mixing("a long memory and its states", module(lambda s: nn.LSTM(s.columns, 4, batch_first=True)),
           sequences, made=True, **FEWER),
    mixing("attention over the rows", module(attention_of_rows, call=lambda m: lambda a: m(a, a, a)), floats,
           made=True, small=Sizes(24, 8), large=Sizes(1024, 64)),
    mixing("attention over the rows, batches second",
           module(attention_of_rows, call=lambda m: lambda a: m(a, a, a)[0]), sequences, made=True,
           small=Sizes(24, 8), large=Sizes(512, 64)),
    mixing("convolution over the rows",
           module(lambda s: nn.Conv1d(s.columns, 3, 3, padding=1), call=lambda m: lambda a: m(a.T)), floats,
           made=True),
    mixing("batch norm in training", module(with_norm, train=True), floats, made=True),
    mixing("batch norm of images in training", module(lambda s: nn.BatchNorm2d(2), train=True), images,
           made=True),
    mixing("batch norm in training, in a function",
           module(with_norm, train=True, call=lambda m: lambda a: m(a) * 2), floats, made=True),
    mixing("spectral norm in training",
           module(lambda s: nn.utils.parametrizations.spectral_norm( nn.Linear(s.columns, 4)), train=True),
           floats, made=True),
    mixing("calls counted in a buffer", module(lambda s: Counting(tells=False)), floats, made=True),
    mixing("calls counted in a buffer and told", module(lambda s: Counting(tells=True)), floats, made=True),
    mixing("a running mean in a buffer", module(lambda s: Centred(s.columns)), floats, made=True),
    mixing("a table of rows in a module", module(Table), floats, made=True),
    mixing("a buffer to work in", module(Scratch), floats, made=True),
    mixing("a cache for attention", cached, sequences, wrapped_in(Plain, sequences)),
    mixing("masks for attention in an object", masked, sequences, wrapped_in(Plain, masks)),
    drawn("dropout in training", module(with_dropout, train=True), floats, made=True),
    drawn("a transformer's layer in training", module(encoder, train=True), sequences, made=True, **WIDE),
    drawn("a module of dropout", module(lambda s: nn.Dropout(0.3), train=True), floats, made=True),
)  # fmt: skip
